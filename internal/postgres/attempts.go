package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// attemptColumns and scanAttempt belong together; a is the attempt.
const attemptColumns = `a.id, a.tenant_id, a.delivery_id, a.event_id, a.subscription_id, a.number, a.manual, a.started_at,
	a.recorded_at, a.outcome, a.our_fault, a.status_code, a.error, a.detail, a.request::text, a.response::text, a.body,
	a.body_truncated, a.dns_us, a.connect_us, a.tls_us, a.first_byte_us, a.total_us, a.reused, a.node_id`

func scanAttempt(row pgx.CollectableRow) (posthorn.Attempt, error) {
	var a posthorn.Attempt
	var request, response *string
	var dns, connect, tls, first, total int64
	err := row.Scan((*uuid)(&a.ID.UUID), (*uuid)(&a.TenantID.UUID), (*uuid)(&a.DeliveryID.UUID), (*uuid)(&a.EventID.UUID),
		(*uuid)(&a.SubscriptionID.UUID), &a.Number, &a.Manual, (*moment)(&a.StartedAt), (*moment)(&a.RecordedAt), &a.Outcome,
		&a.OurFault, &a.StatusCode, &a.Error, &a.Detail, &request, &response, &a.Body, &a.BodyTruncated,
		&dns, &connect, &tls, &first, &total, &a.Timing.Reused, (*uuid)(&a.Node.UUID))
	if err != nil {
		return a, err
	}
	t := &a.Timing
	t.DNS, t.Connect, t.TLS = time.Duration(dns)*time.Microsecond, time.Duration(connect)*time.Microsecond, time.Duration(tls)*time.Microsecond
	t.FirstByte, t.Total = time.Duration(first)*time.Microsecond, time.Duration(total)*time.Microsecond
	if err = fromDocument(request, &a.Request); err == nil {
		err = fromDocument(response, &a.Response)
	}
	return a, err
}

// ListAttempts implements posthorn.DeliveryStore. Where no clock was set back an attempt is never older than its delivery,
// so older partitions are left out but for the attic.
func (s *Store) ListAttempts(ctx context.Context, tenant posthorn.TenantID, id posthorn.DeliveryID) ([]posthorn.Attempt, error) {
	d, err := s.GetDelivery(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	since := func(lowest posthorn.UUID) ([]posthorn.Attempt, error) {
		return many(ctx, s, "list attempts", scanAttempt, `SELECT `+attemptColumns+` FROM attempts a
			WHERE a.delivery_id = $1 AND a.tenant_id = $2 AND a.id >= $3 ORDER BY a.number, a.id LIMIT $4`,
			uuid(id.UUID), uuid(tenant.UUID), uuid(lowest), posthorn.MaxDeliveryAttempts)
	}
	written := d.Attempts
	if !d.Claim.IsZero() {
		written-- // the one under way
	}
	written = min(written, posthorn.MaxDeliveryAttempts)
	list, err := since(posthorn.MinUUID(id.Time().Add(-time.Hour)))
	if err == nil && (len(list) < written || written > 0 && list[written-1].Number > written) {
		return since(posthorn.MinUUID(time.Unix(0, 0))) // some were made after the clock was set back to before the delivery
	}
	return list, err
}

// interrupted is an attempt whose claim was lost, or taken away.
type interrupted struct {
	id, tenant, delivery, event, subscription, node posthorn.UUID
	number                                          int
	manual                                          bool
}

// insertInterrupted writes lost attempts. That one is there already means that its result came at the last moment.
const insertInterrupted = `
INSERT INTO attempts (id, tenant_id, delivery_id, event_id, subscription_id, node_id, started_at, recorded_at, number, status_code,
	dns_us, connect_us, tls_us, first_byte_us, total_us, reused, manual, our_fault, body_truncated, outcome, error, detail)
SELECT i.id, i.tenant_id, i.delivery_id, i.event_id, i.subscription_id, i.node_id, i.started_at, now(), i.number, 0,
	0, 0, 0, 0, 0, false, i.manual, true, false, 'interrupted', '` + posthorn.ClaimLost + `', '` + posthorn.ClaimLostDetail + `'
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::timestamptz[], $8::int[], $9::bool[])
	AS i(id, tenant_id, delivery_id, event_id, subscription_id, node_id, started_at, number, manual)
ON CONFLICT DO NOTHING`

// queueInterrupted adds lost attempts to a pipeline. They began when the claim was made, which is the time of its token.
func queueInterrupted(b *pgx.Batch, lost []interrupted) {
	if len(lost) == 0 {
		return
	}
	var ids, tenants, deliveries, events, subscriptions, nodes uuids
	var started moments
	var numbers []int32
	var manual []bool
	for _, l := range lost {
		ids, tenants, deliveries = append(ids, l.id), append(tenants, l.tenant), append(deliveries, l.delivery)
		events, subscriptions, nodes = append(events, l.event), append(subscriptions, l.subscription), append(nodes, l.node)
		started, numbers, manual = append(started, l.id.Time()), append(numbers, int32(l.number)), append(manual, l.manual)
	}
	b.Queue(insertInterrupted, ids, tenants, deliveries, events, subscriptions, nodes, started, numbers, manual)
}
