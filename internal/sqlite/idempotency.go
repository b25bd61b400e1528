package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/posthorn/posthorn"
)

// keyName is a producer's key; keys are per tenant.
type keyName struct {
	tenant posthorn.TenantID
	key    string
}

// keyRow is the answer a key was used for.
type keyRow struct {
	content    [sha256.Size]byte
	event      posthorn.EventID
	createdAt  time.Time
	deliveries int
}

// answer is what the key's second use gets.
func (k *keyRow) answer(again *keyRow) posthorn.Accepted {
	if k.content != again.content {
		return posthorn.Accepted{Err: posthorn.KeyUsed()}
	}
	return posthorn.Accepted{EventID: k.event, CreatedAt: k.createdAt, Deliveries: k.deliveries, Duplicate: true}
}

// usedKeys reads those of the keys that were used: pairs of tenant and key.
func (t *tx) usedKeys(pairs []any) (map[keyName]*keyRow, error) {
	used := map[keyName]*keyRow{}
	err := t.bulkQuery(`SELECT tenant_id, key, content, event_id, created_at, deliveries FROM idempotency_keys
		WHERE (tenant_id, key) IN (VALUES ROWS)`, 2, pairs, func(rows *sql.Rows) error {
		var name keyName
		var row keyRow
		var content []byte
		err := rows.Scan(&name.tenant, &name.key, &content, &row.event, instant{&row.createdAt}, &row.deliveries)
		copy(row.content[:], content)
		used[name] = &row
		return err
	})
	return used, err
}

// UsedKeys implements posthorn.EventStore.
func (s *Store) UsedKeys(ctx context.Context, tenant posthorn.TenantID, keys []string) (map[string]bool, error) {
	used := make(map[string]bool)
	err := s.snapshot(ctx, func(r reader) error {
		list, err := json.Marshal(keys)
		if err != nil {
			return err
		}
		rows, err := r.query(`SELECT k.key FROM json_each(?1) AS asked CROSS JOIN idempotency_keys AS k ON k.tenant_id = ?2 AND k.key = asked.value`,
			string(list), tenant)
		return each(rows, err, func(rows *sql.Rows) error {
			var key string
			err := rows.Scan(&key)
			used[key] = true
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look for keys: %w", err)
	}
	return used, nil
}
