package sqlite

import (
	"crypto/sha256"
	"database/sql"
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
		return posthorn.Accepted{Err: posthorn.NewError(posthorn.Conflict,
			"the idempotency key was used for an event with other content; use a new key")}
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
