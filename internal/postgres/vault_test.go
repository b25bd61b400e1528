package postgres

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/storetest"
)

func TestVault(t *testing.T) {
	url, texts := newDatabase(t), map[string]string{}
	storetest.RunVault(t, func(t *testing.T, names ...string) (posthorn.Store, posthorn.Keyring) {
		var list []string
		for _, name := range names {
			if texts[name] == "" {
				texts[name] = seal.Generate()
			}
			list = append(list, texts[name])
		}
		keys, err := seal.ParseKeys(strings.Join(list, ","))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Options{URL: url, Sealer: keys, MaxConns: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, keys
	})
}
