package sqlite

import (
	"encoding/base64"
	"errors"
	"testing"
)

// testSealer binds and hides without cryptography, which is internal/seal's: enough to see that the store uses it.
type testSealer struct{}

func (testSealer) Seal(plain []byte, bind string) []byte {
	return []byte(bind + "\x00" + base64.StdEncoding.EncodeToString(plain))
}

func (testSealer) Open(sealed []byte, bind string) ([]byte, error) {
	if len(sealed) <= len(bind) || string(sealed[:len(bind)+1]) != bind+"\x00" {
		return nil, errors.New("sealed for another row")
	}
	return base64.StdEncoding.DecodeString(string(sealed[len(bind)+1:]))
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path, Sealer: testSealer{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
