package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// nodeMemory is how long a node that is not seen is listed.
const nodeMemory = 24 * time.Hour

// Heartbeat writes the node's report.
func (s *Store) Heartbeat(ctx context.Context, n *posthorn.Node) (drain bool, err error) {
	report := *n
	err = s.write(ctx, func(t *tx) error {
		report.SeenAt = t.now
		return t.queryRow(`INSERT INTO nodes (id, seen_at, report) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET seen_at = excluded.seen_at, report = excluded.report RETURNING drain`,
			n.ID, stamp(t.now), document(report, false)).Scan(&drain)
	})
	if err != nil {
		return false, fmt.Errorf("write heartbeat: %w", err)
	}
	n.SeenAt = report.SeenAt
	return drain, nil
}

// ListNodes lists those seen within the last day, oldest first.
func (s *Store) ListNodes(ctx context.Context) ([]posthorn.Node, error) {
	var nodes []posthorn.Node
	rows, err := s.read(ctx).query(`SELECT id, seen_at, drain, report FROM nodes WHERE seen_at >= ? ORDER BY id`,
		stamp(s.Now().Add(-nodeMemory)))
	err = each(rows, err, func(rows *sql.Rows) error {
		var n, columns posthorn.Node
		var report string
		err := rows.Scan(&columns.ID, instant{&columns.SeenAt}, &columns.Drain, &report)
		if err == nil {
			err = decode(report, &n)
		}
		n.ID, n.SeenAt, n.Drain = columns.ID, columns.SeenAt, columns.Drain
		nodes = append(nodes, n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", fault(err))
	}
	return nodes, nil
}

// DrainNode asks a node to claim nothing more.
func (s *Store) DrainNode(ctx context.Context, id posthorn.NodeID) error {
	err := s.write(ctx, func(t *tx) error {
		answer, err := t.exec(`UPDATE nodes SET drain = 1 WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if n, err := answer.RowsAffected(); n == 0 && err == nil {
			return posthorn.Absent("node")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("drain node: %w", err)
	}
	return nil
}

// ForgetNode removes a node and the duties it had.
func (s *Store) ForgetNode(ctx context.Context, id posthorn.NodeID) error {
	err := s.write(ctx, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM leases WHERE node_id = ?`, id); err != nil {
			return err
		}
		_, err := t.exec(`DELETE FROM nodes WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget node: %w", err)
	}
	return nil
}

// AcquireLease gives a duty to a node for a time, or renews it.
func (s *Store) AcquireLease(ctx context.Context, name string, node posthorn.NodeID, ttl time.Duration) (bool, error) {
	var held bool
	err := s.write(ctx, func(t *tx) error {
		answer, err := t.exec(`INSERT INTO leases (name, node_id, until) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET node_id = excluded.node_id, until = excluded.until
			WHERE node_id = excluded.node_id OR until <= ? OR until > excluded.until`, name, node, stamp(t.now.Add(ttl)), stamp(t.now))
		if err != nil {
			return err
		}
		n, err := answer.RowsAffected()
		held = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("acquire lease: %w", err)
	}
	return held, nil
}

// ReleaseLease gives a duty back early.
func (s *Store) ReleaseLease(ctx context.Context, name string, node posthorn.NodeID) error {
	err := s.write(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM leases WHERE name = ? AND node_id = ?`, name, node)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease: %w", err)
	}
	return nil
}
