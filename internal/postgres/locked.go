package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// locked is a delivery locked for a change, with the claim it had.
type locked struct {
	id   posthorn.UUID
	lost interrupted
}

const lockedColumns = `d.id, d.tenant_id, d.event_id, d.subscription_id, d.claim, d.claimed_by, d.attempts, d.manual <> 0`

func (l *locked) fields() []any {
	i := &l.lost
	return []any{
		(*uuid)(&l.id), (*uuid)(&i.tenant), (*uuid)(&i.event), (*uuid)(&i.subscription), (*uuid)(&i.id), (*uuid)(&i.node),
		&i.number, &i.manual,
	}
}

func scanLocked(row pgx.CollectableRow) (locked, error) {
	var l locked
	err := row.Scan(l.fields()...)
	l.lost.delivery = l.id
	return l, err
}
