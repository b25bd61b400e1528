package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// Heartbeat implements posthorn.NodeStore.
func (s *Store) Heartbeat(ctx context.Context, n *posthorn.Node) (bool, error) {
	report, err := json.Marshal(n)
	if err != nil {
		return false, fmt.Errorf("node report: %w", err)
	}
	err = s.do(ctx, "write heartbeat", func(ctx context.Context) error {
		sent := time.Now()
		err := s.pool.QueryRow(ctx, `
			INSERT INTO nodes AS n (id, started_at, seen_at, report) VALUES ($1, coalesce($2, now()), now(), $3)
			ON CONFLICT (id) DO UPDATE SET started_at = excluded.started_at, seen_at = now(), report = excluded.report
			RETURNING n.drain, n.seen_at, n.started_at`, uuid(n.ID.UUID), moment(n.StartedAt), string(report)).
			Scan(&n.Drain, (*moment)(&n.SeenAt), (*moment)(&n.StartedAt))
		if err == nil {
			s.setClock(sent, n.SeenAt, time.Now())
		}
		return err
	})
	return n.Drain, err
}

// ListNodes implements posthorn.NodeStore.
func (s *Store) ListNodes(ctx context.Context) ([]posthorn.Node, error) {
	return many(ctx, s, "list nodes", func(row pgx.CollectableRow) (posthorn.Node, error) {
		var n, written posthorn.Node
		var report *string
		err := row.Scan((*uuid)(&written.ID.UUID), (*moment)(&written.StartedAt), (*moment)(&written.SeenAt), &written.Drain, &report)
		if err == nil {
			err = fromDocument(report, &n)
		}
		n.ID, n.StartedAt, n.SeenAt, n.Drain = written.ID, written.StartedAt, written.SeenAt, written.Drain
		return n, err
	}, `SELECT id, started_at, seen_at, drain, report::text FROM nodes WHERE seen_at > now() - interval '1 day'
		ORDER BY started_at, id`)
}

// DrainNode implements posthorn.NodeStore.
func (s *Store) DrainNode(ctx context.Context, id posthorn.NodeID) error {
	return s.do(ctx, "drain node", func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, `UPDATE nodes SET drain = true WHERE id = $1`, uuid(id.UUID))
		if err == nil && tag.RowsAffected() == 0 {
			return posthorn.Absent("node")
		}
		return err
	})
}

// ForgetNode implements posthorn.NodeStore.
func (s *Store) ForgetNode(ctx context.Context, id posthorn.NodeID) error {
	return s.do(ctx, "forget node", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `DELETE FROM nodes WHERE id = $1`, uuid(id.UUID))
		return err
	})
}

// AcquireLease implements posthorn.NodeStore.
func (s *Store) AcquireLease(ctx context.Context, name string, node posthorn.NodeID, ttl time.Duration) (bool, error) {
	held := false
	err := s.do(ctx, "acquire lease", func(ctx context.Context) error {
		err := s.pool.QueryRow(ctx, `
			INSERT INTO leases AS l (name, node_id, expires_at) VALUES ($1, $2, now() + $3::interval)
			ON CONFLICT (name) DO UPDATE SET node_id = excluded.node_id, expires_at = excluded.expires_at
			WHERE l.node_id = excluded.node_id OR l.expires_at <= now() OR l.expires_at > excluded.expires_at + $4::interval
			RETURNING true`, name, uuid(node.UUID), ttl, setbackSlack).Scan(&held)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return held, err
}

// ReleaseLease implements posthorn.NodeStore.
func (s *Store) ReleaseLease(ctx context.Context, name string, node posthorn.NodeID) error {
	return s.do(ctx, "release lease", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `DELETE FROM leases WHERE name = $1 AND node_id = $2`, name, uuid(node.UUID))
		return err
	})
}
