package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/postgres"
	"github.com/posthorn/posthorn/internal/sqlite"
)

// examineStore looks at the store the settings name.
func examineStore(ctx context.Context, o Options) []Finding {
	switch {
	case o.Settings.Postgres():
		return append(examinePostgres(ctx, o.Settings.DatabaseURL), examineSecrets(ctx, o.Settings)...)
	case o.Settings.SQLitePath() != "":
		return examineSQLite(ctx, o.Settings)
	}
	return nil
}

// magic begins every SQLite database (https://www.sqlite.org/fileformat.html, section 1.3).
var magic = []byte("SQLite format 3\x00")

// wholeTime is how long an embedded store is looked through: a gigabyte in the file system's cache.
const wholeTime = 5 * time.Second

// examineSQLite looks at the file alone: opening the store would migrate it, and it may belong to a running node.
func examineSQLite(ctx context.Context, s *config.Settings) []Finding {
	const about = "database"
	path := s.SQLitePath()
	if there, err := sqlite.Find(path); err != nil {
		return []Finding{fail(about, err.Error(), "set DATABASE_URL")}
	} else if !there {
		return []Finding{fine(about, "%s does not exist yet; the first start makes it", path)}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return []Finding{fail(about, err.Error(), "give the file to the user that runs posthorn")}
	}
	defer f.Close()
	head := make([]byte, len(magic))
	if n, err := io.ReadFull(f, head); n > 0 && (err != nil || !bytes.Equal(head, magic)) {
		return []Finding{fail(about, path+" is no SQLite database", "restore it from a backup, or let DATABASE_URL name another file")}
	}
	var all []Finding
	var ring posthorn.Keyring
	if keys, err := s.Keys(); err == nil {
		ring = keys
	} else {
		all = append(all, fail(keysAbout, err.Error(), "put the key back"))
	}
	looked, err := sqlite.Look(ctx, path, ring, wholeTime)
	switch {
	case err != nil:
		return append(all, fail(about, path+" is damaged, or cannot be read: "+err.Error(), "put it aside, and a backup in its place: posthorn restore FILE"))
	case looked.Migration > looked.Expected:
		return append(all, fail(about, fmt.Sprintf("%s has schema %d and this version knows %d", path, looked.Migration, looked.Expected), "use the newer version, or restore a backup from before"))
	}
	return append(append(all, describeFile(path, looked)), judgeSecrets(s, looked.Sealed)...)
}

func describeFile(path string, looked sqlite.Looked) Finding {
	size, more := int64(0), ""
	for _, part := range []string{path, path + "-wal"} {
		if info, err := os.Stat(part); err == nil {
			size += info.Size()
		}
	}
	if looked.Migration < looked.Expected {
		more += fmt.Sprintf("; schema %d, which the next start brings to %d", looked.Migration, looked.Expected)
	}
	if !looked.Whole {
		more += "; too large to be looked through here"
	}
	return fine("database", "%s, %d MiB%s", path, size>>20, more)
}

const keysAbout = "encryption key"

// judgeSecrets says whether the keys open what is in the store.
func judgeSecrets(s *config.Settings, sealed posthorn.ResealReport) []Finding {
	if sealed.Unreadable == 0 {
		return nil
	}
	return []Finding{fail(keysAbout, "with the keys of "+s.KeysFrom()+" "+sealed.Unopened(),
		"put the keys that they are sealed under at the end of the list; posthorn keys reseal --check names them")}
}

// examineSecrets opens a PostgreSQL that has a store of this version, as a command beside the service does: nothing is made.
func examineSecrets(ctx context.Context, s *config.Settings) []Finding {
	keys, err := s.Keys()
	if err != nil {
		return nil // the settings' finding
	}
	store, err := postgres.Open(ctx, postgres.Options{URL: s.DatabaseURL, Sealer: keys, Existing: true, MaxConns: 1})
	if err != nil {
		if errors.Is(err, postgres.ErrMigrate) {
			return []Finding{fine("database", "%s, or start a node", err)}
		}
		return nil // the database's finding
	}
	defer store.Close()
	sealed, err := posthorn.Glance(ctx, keys, store.Reseal)
	if err != nil {
		return []Finding{warn(keysAbout, "the secrets cannot be looked at: "+reason(err), "look at the server's log")}
	}
	return judgeSecrets(s, sealed)
}
