package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn"
)

// Looked is what was found in a store's file without opening the store.
type Looked struct {
	// Migration is the schema that the file has, Expected the one of this version.
	Migration, Expected int64
	// Whole says that the whole file was looked through in the time there was.
	Whole bool
	// Sealed is a posthorn.Glance, where keys were given and the schema is this version's.
	Sealed posthorn.ResealReport
}

// Look looks at a store's file beside the node that may have it, and changes nothing. A file that is damaged is an error; checking
// that is given up after a time.
func Look(ctx context.Context, file string, keys posthorn.Keyring, patience time.Duration) (Looked, error) {
	// Without a log beside it no node has the file, and SQLite is not to make one.
	_, err := os.Stat(file + "-wal")
	db, err := readOnly(file, errors.Is(err, fs.ErrNotExist))
	if err != nil {
		return Looked{}, err
	}
	defer db.Close()
	var l Looked
	if l.Expected, err = latestMigration(); err != nil {
		return l, err
	}
	if l.Migration, err = schemaOf(ctx, db); err != nil {
		return l, err
	}
	if keys != nil && l.Migration == l.Expected {
		l.Sealed, err = posthorn.Glance(ctx, keys, func(ctx context.Context, keys posthorn.Keyring, step posthorn.ResealStep) (posthorn.ResealReport, error) {
			return look(reader{ctx, db}, keys, step, nil)
		})
		if err != nil {
			return l, fmt.Errorf("look at the secrets: %w", err)
		}
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var verdict string
	err = db.QueryRowContext(short, `PRAGMA quick_check(1)`).Scan(&verdict)
	switch {
	case short.Err() != nil:
		return l, nil
	case err == nil && verdict != "ok":
		err = errors.New(verdict)
	}
	l.Whole = err == nil
	return l, err
}

// readOnly opens a file for reading; nobody may write to one that is immutable.
func readOnly(file string, immutable bool) (*sql.DB, error) {
	options := "?mode=ro"
	if immutable {
		options += "&immutable=1"
	}
	name := (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()
	return sql.Open("sqlite", "file:"+name+options+"&_busy_timeout="+foreignLockWait)
}
