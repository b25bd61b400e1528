package sqlite

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"hash"
	"io"
	"maps"
	"slices"
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

// contentHash is what makes two publishes the same: type, content type, headers, ordering key and payload, each with its
// length so that none runs into the next.
func contentHash(e *posthorn.Event) (sum [sha256.Size]byte) {
	h := sha256.New()
	part := func(s string) {
		length(h, len(s))
		_, _ = io.WriteString(h, s)
	}
	part(e.Type)
	part(e.ContentType)
	part(e.OrderingKey)
	length(h, len(e.Headers))
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		part(name)
		part(e.Headers[name])
	}
	length(h, len(e.Payload))
	_, _ = h.Write(e.Payload)
	h.Sum(sum[:0])
	return sum
}

func length(h hash.Hash, n int) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}
