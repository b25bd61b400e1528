package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn"
)

// Copy describes a file that was looked through: the schema it has, and how many rows of what.
type Copy struct {
	Migration                         int64
	Events, Deliveries, Subscriptions int64
	Bytes                             int64
}

// Backup writes a copy of a store's file to another that must not exist, also while a node serves the store: it is one
// moment of the file, with everything acknowledged before. The copy has been looked through when Backup returns, and is
// on the disk; after an error there is none.
func Backup(ctx context.Context, file, to string) (Copy, error) {
	if _, err := os.Stat(file); err != nil {
		return Copy{}, fmt.Errorf("back up %s: %w", file, err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return Copy{}, fmt.Errorf("back up to %s: %w", to, cmpError(err, fs.ErrExist))
	}
	part := to + ".part"
	// Made first, because SQLite would make it readable to others.
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return Copy{}, fmt.Errorf("back up to %s: %w", to, err)
	}
	defer os.Remove(part)
	c, err := vacuumInto(ctx, file, part)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	} else {
		_ = f.Close()
	}
	if err == nil {
		err = os.Rename(part, to)
	}
	if err == nil {
		if err = syncDirectory(to); err != nil {
			_ = os.Remove(to)
		}
	}
	if err != nil {
		return Copy{}, fmt.Errorf("back up %s: %w", file, err)
	}
	return c, nil
}

func cmpError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// vacuumInto copies what one read transaction sees, without free pages.
func vacuumInto(ctx context.Context, file, part string) (Copy, error) {
	db, err := handle(file, func(q url.Values) { q.Set("_busy_timeout", "10000") }, 1)
	if err != nil {
		return Copy{}, err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, part); err != nil {
		return Copy{}, err
	}
	return Inspect(ctx, part, nil)
}

// Inspect looks through a copy that nobody writes to: that it is whole, of a schema this version knows, and, where a sealer
// is given, that the secrets in it open.
func Inspect(ctx context.Context, file string, sealer Sealer) (Copy, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Copy{}, err
	}
	if log, err := os.Stat(file + "-wal"); err == nil && log.Size() > 0 {
		return Copy{}, fmt.Errorf("%s has a log (-wal) beside it that is not in it yet: make the copy with posthorn backup", file)
	}
	db, err := readOnly(file, true)
	if err != nil {
		return Copy{}, err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil || verdict != "ok" {
		return Copy{}, fmt.Errorf("%s is not whole: %w", file, cmpError(err, errors.New(verdict)))
	}
	c := Copy{Bytes: info.Size()}
	err = db.QueryRowContext(ctx, `SELECT (SELECT max(version_id) FROM goose_db_version), (SELECT count(*) FROM events),
		(SELECT count(*) FROM deliveries), (SELECT count(*) FROM subscriptions WHERE deleted_at = 0)`).
		Scan(&c.Migration, &c.Events, &c.Deliveries, &c.Subscriptions)
	if err != nil {
		return Copy{}, fmt.Errorf("%s is no store of Posthorn: %w", file, err)
	}
	if known, err := latestMigration(); err != nil || c.Migration > known {
		return Copy{}, cmpError(err, fmt.Errorf("%s has schema %d and this version knows %d: use the newer version", file, c.Migration, known))
	}
	if sealer != nil {
		err = opens(ctx, db, sealer)
	}
	return c, err
}

// latestMigration is the number that the last of the migrations' files begins with.
func latestMigration() (int64, error) {
	names, err := fs.Glob(migrations, "migration/*.sql")
	if err != nil || len(names) == 0 {
		return 0, err
	}
	number, _, _ := strings.Cut(path.Base(slices.Max(names)), "_")
	return strconv.ParseInt(number, 10, 64)
}

// opens unseals every subscription; tombstones have nothing sealed that anyone needs.
func opens(ctx context.Context, db *sql.DB, sealer Sealer) error {
	rows, err := db.QueryContext(ctx, `SELECT id, tenant_id, confidential FROM subscriptions WHERE deleted_at = 0`)
	return each(rows, err, func(rows *sql.Rows) error {
		var sub posthorn.Subscription
		var sealed []byte
		if err := rows.Scan(&sub.ID, &sub.TenantID, &sealed); err != nil {
			return err
		}
		if _, err := sealer.Open(sealed, sub.Binding()); err != nil {
			return fmt.Errorf("the secrets of %s do not open: %w", sub.ID, err)
		}
		return nil
	})
}

// Restore puts a copy in the place of a store's file, after looking through it. It refuses while a node has the file, and
// where there is one already unless told to replace it. The store is the old one until everything of the new one is on
// the disk; the new one has its owner, or else the directory's.
func Restore(ctx context.Context, from, file string, sealer Sealer, replace bool) (Copy, error) {
	c, err := Inspect(ctx, from, sealer)
	if err != nil {
		return Copy{}, fmt.Errorf("restore: %w", err)
	}
	s := &Store{path: file, existing: true}
	if _, err := os.Stat(file); err == nil && !replace {
		return Copy{}, fmt.Errorf("restore: %s is there already; --force replaces it", file)
	}
	if err := s.takeLock(); err != nil {
		return Copy{}, fmt.Errorf("restore %s: %w", file, err)
	}
	defer s.lock.Close()
	part := file + ".restore"
	defer os.Remove(part)
	if err := copyFile(from, part); err != nil {
		return Copy{}, fmt.Errorf("restore %s: %w", file, err)
	}
	leaveTo(part, file, filepath.Dir(file))
	// The old log must not be played into the new file.
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Copy{}, fmt.Errorf("restore %s: %w", file, err)
		}
	}
	if err := os.Rename(part, file); err != nil {
		return Copy{}, fmt.Errorf("restore %s: %w", file, err)
	}
	if err := syncDirectory(file); err != nil {
		return Copy{}, fmt.Errorf("restore %s: it is in its place, and may not be after a crash: %w", file, err)
	}
	return c, nil
}

// copyFile makes a file anew: what a crash left there goes, and a link is not written through.
func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, source)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDirectory makes a file's new name last.
func syncDirectory(file string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such thing
	}
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
