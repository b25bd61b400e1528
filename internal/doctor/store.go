package doctor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
)

// examineStore looks at the store the settings name.
func examineStore(ctx context.Context, o Options) []Finding {
	switch {
	case o.Settings.Postgres():
		return examinePostgres(ctx, o.Settings.DatabaseURL)
	case o.Settings.SQLitePath() != "":
		return []Finding{examineSQLite(o.Settings.SQLitePath())}
	}
	return nil
}

// magic begins every SQLite database (https://www.sqlite.org/fileformat.html, section 1.3).
var magic = []byte("SQLite format 3\x00")

// examineSQLite looks at the file alone: opening the store would migrate it, and it may belong to a running node.
func examineSQLite(path string) Finding {
	const about = "database"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fine(about, "%s does not exist yet; the first start makes it", path)
	}
	if err != nil {
		return fail(about, err.Error(), "give the file to the user that runs posthorn")
	}
	defer f.Close()
	head := make([]byte, len(magic))
	if n, err := io.ReadFull(f, head); n > 0 && (err != nil || !bytes.Equal(head, magic)) {
		return fail(about, path+" is no SQLite database", "restore it from a backup, or let DATABASE_URL name another file")
	}
	size := int64(0)
	for _, part := range []string{path, path + "-wal"} {
		if info, err := os.Stat(part); err == nil {
			size += info.Size()
		}
	}
	return fine(about, "%s, %d MiB", path, size>>20)
}
