package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/storetest"
)

func TestVault(t *testing.T) {
	path, texts := filepath.Join(t.TempDir(), "posthorn.db"), map[string]string{}
	var before *Store
	storetest.RunVault(t, func(t *testing.T, names ...string) (posthorn.Store, posthorn.Keyring) {
		if before != nil {
			if err := before.Close(); err != nil {
				t.Fatal(err)
			}
		}
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
		if before, err = Open(t.Context(), Options{Path: path, Sealer: keys}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = before.Close() })
		return before, keys
	})
}
