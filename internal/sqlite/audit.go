package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/posthorn/posthorn"
)

const auditColumns = `id, tenant_id, created_at, via, key_id, key_name, address, client, request_id, action, object, was, became`

// idSlack is how far an entry's id may be from the moment its row was written.
const idSlack = time.Minute

func scanAudit(rows *sql.Rows) (e posthorn.AuditEntry, err error) {
	var address, client, before, after string
	err = rows.Scan(&e.ID, &e.TenantID, instant{&e.At}, &e.Via, &e.KeyID, &e.KeyName, &address, &client, &e.RequestID,
		&e.Action, &e.Object, &before, &after)
	// What is not an address was none.
	e.Address, _ = netip.ParseAddr(address)
	e.Client, _ = netip.ParseAddr(client)
	// Appended, an empty text stays nil.
	e.Before, e.After = append(e.Before, before...), append(e.After, after...)
	return e, err
}

// RecordAudit writes an entry. The zero address is an empty text.
func (s *Store) RecordAudit(ctx context.Context, e *posthorn.AuditEntry) error {
	var now time.Time
	err := s.write(ctx, func(t *tx) error {
		now = t.now
		_, err := t.exec(`INSERT INTO audit (`+auditColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID, e.TenantID,
			stamp(now), string(e.Via), e.KeyID, e.KeyName, string(e.Address.AppendTo(nil)), string(e.Client.AppendTo(nil)), e.RequestID, e.Action,
			e.Object, string(e.Before), string(e.After))
		return err
	})
	if err != nil {
		return fmt.Errorf("record audit entry: %w", err)
	}
	e.At = now
	return nil
}

// ListAudit lists entries, newest first.
func (s *Store) ListAudit(ctx context.Context, tenant posthorn.TenantID, f posthorn.AuditFilter, p posthorn.Page) ([]posthorn.AuditEntry, posthorn.UUID, error) {
	list := newListing[posthorn.AuditEntry](p)
	before, lowest := list.before, posthorn.UUID{}
	if !f.Since.IsZero() {
		lowest = posthorn.MinUUID(f.Since.Add(-idSlack))
	}
	if !f.Until.IsZero() {
		if end := posthorn.MinUUID(f.Until.Add(idSlack)); string(end[:]) < string(before[:]) {
			before = end
		}
	}
	where, args := `id < ? AND id >= ?`, []any{before[:], lowest[:]}
	if !tenant.IsZero() {
		where, args = `tenant_id = ? AND `+where, append([]any{tenant}, args...)
	}
	rows, err := s.read(ctx).query(`SELECT `+auditColumns+` FROM audit WHERE `+where+` ORDER BY id DESC LIMIT ?`,
		append(args, list.bound)...)
	err = each(rows, err, func(rows *sql.Rows) error {
		e, err := scanAudit(rows)
		if err != nil {
			return err
		}
		return list.add(e, e.ID.UUID, f.Wants(&e))
	})
	if err != nil {
		return nil, posthorn.UUID{}, fmt.Errorf("list audit entries: %w", fault(err))
	}
	return list.rows, list.next, nil
}

// CleanAccess removes old audit entries and sessions that have ended.
func (s *Store) CleanAccess(ctx context.Context, keep time.Duration, batch int) (removed int, done bool, err error) {
	done = true
	err = s.write(ctx, func(t *tx) error {
		for _, step := range []struct {
			text string
			at   time.Time
		}{
			{`DELETE FROM audit WHERE rowid IN (SELECT rowid FROM audit WHERE created_at < ? ORDER BY created_at LIMIT ?)`, t.now.Add(-keep)},
			{`DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE seen_at <= ? LIMIT ?)`, t.now.Add(-posthorn.SessionIdle)},
			{`DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE created_at <= ? LIMIT ?)`, t.now.Add(-posthorn.SessionLife)},
		} {
			answer, err := t.exec(step.text, stamp(step.at), batch)
			if err != nil {
				return err
			}
			n, err := answer.RowsAffected()
			if err != nil {
				return err
			}
			removed += int(n)
			done = done && n < int64(batch)
		}
		return nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("clean up audit and sessions: %w", err)
	}
	return removed, done, nil
}
