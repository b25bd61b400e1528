package postgres

import (
	"encoding/json"
	"slices"

	"github.com/posthorn/posthorn"
)

// acceptRows is a batch of acceptances on its way into the database.
type acceptRows struct {
	batch []posthorn.Acceptance
	// keyed are the places of the events that have an idempotency key, and keys what decides about those.
	keyed []int
	keys  keyedRows
	// owner and nth are, for each match, the place of its event and its own among the event's.
	owner, nth []int
	// ordered are the subscriptions matched that may be FIFO, once each.
	ordered uuids
	// payloads is how many bytes the events bring.
	payloads int
}

// keyedRows are the arrays that decide about idempotency keys.
type keyedRows struct {
	events, tenants uuids
	versions        bigints
	keys            texts
	hashes          blobs
}

func newAcceptRows(batch []posthorn.Acceptance) *acceptRows {
	matches := 0
	for i := range batch {
		matches += len(batch[i].Matches)
	}
	r := &acceptRows{batch: batch}
	columns(matches, &r.owner, &r.nth)
	for i := range batch {
		a := &batch[i]
		r.payloads += len(a.Event.Payload)
		if a.Event.IdempotencyKey != "" {
			r.addKey(i, a)
		}
		for j := range a.Matches {
			r.owner, r.nth = append(r.owner, i), append(r.nth, j)
			if m := &a.Matches[j]; !m.Unordered || a.Version == posthorn.AnyVersion {
				r.ordered = append(r.ordered, m.SubscriptionID.UUID)
			}
		}
	}
	slices.SortFunc(r.ordered, compareIDs)
	r.ordered = slices.Compact(r.ordered)
	return r
}

func (r *acceptRows) addKey(place int, a *posthorn.Acceptance) {
	r.keyed = append(r.keyed, place)
	k, e, hash := &r.keys, a.Event, a.Event.ContentHash()
	k.events = append(k.events, e.ID.UUID)
	k.tenants = append(k.tenants, e.TenantID.UUID)
	k.versions = append(k.versions, a.Version)
	k.keys = append(k.keys, e.IdempotencyKey)
	k.hashes = append(k.hashes, hash[:])
}

// arguments are those of acceptEvents, in order, and the first of acceptWhole; made is of the deliveries.
func (r *acceptRows) arguments(node posthorn.NodeID, made period) []any {
	return []any{
		records{len(r.batch), r.payloads + 300*len(r.batch), r.putEvent},
		records{len(r.owner), 250 * len(r.owner), r.putMatch},
		uuid(node.UUID), posthorn.Lease, moment(made.from), moment(made.to), bornFresh,
	}
}

// made is when the ids of the deliveries were.
func (r *acceptRows) made() (p period) {
	for i, owner := range r.owner {
		p.add(r.batch[owner].Matches[r.nth[i]].DeliveryID.UUID)
	}
	return p
}

// putEvent writes an event_row.
func (r *acceptRows) putEvent(to *record, i int) {
	a := &r.batch[i]
	e := a.Event
	to.uuid(e.ID.UUID)
	to.uuid(e.TenantID.UUID)
	to.bigint(a.Version)
	to.text(e.IdempotencyKey)
	to.integer(int32(len(a.Matches)))
	to.text(e.Type)
	to.text(e.ContentType)
	to.text(e.OrderingKey)
	to.text(e.TraceParent)
	to.json(eventHeaders(e))
	to.moment(e.DeliverAt)
	to.moment(e.ExpiresAt)
	to.filled(e.Payload)
}

// eventHeaders are the event's headers as JSON text; absent ones are NULL.
func eventHeaders(e *posthorn.Event) []byte {
	if e.Headers == nil {
		return nil
	}
	text, _ := json.Marshal(e.Headers) // maps of texts always encode
	return text
}

// putMatch writes a match_row. What belongs to the event is repeated so that nothing must be joined.
func (r *acceptRows) putMatch(to *record, i int) {
	e := r.batch[r.owner[i]].Event
	m := &r.batch[r.owner[i]].Matches[r.nth[i]]
	to.uuid(e.ID.UUID)
	to.uuid(e.TenantID.UUID)
	to.uuid(m.SubscriptionID.UUID)
	to.uuid(m.DeliveryID.UUID)
	to.uuid(m.Attempt.UUID)
	to.text(string(m.Reason))
	to.text(e.Type)
	to.text(e.OrderingKey)
	to.moment(e.DeliverAt)
	to.moment(e.ExpiresAt)
	to.integer(int32(len(e.Payload)))
}

// ids are all that need a partition.
func (r *acceptRows) ids() []posthorn.UUID {
	ids := make([]posthorn.UUID, 0, len(r.batch)+len(r.owner))
	for i := range r.batch {
		ids = append(ids, r.batch[i].Event.ID.UUID)
		for _, m := range r.batch[i].Matches {
			ids = append(ids, m.DeliveryID.UUID)
		}
	}
	return ids
}

func compareIDs(a, b posthorn.UUID) int { return slices.Compare(a[:], b[:]) }
