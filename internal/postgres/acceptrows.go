package postgres

import (
	"encoding/json"
	"slices"

	"github.com/posthorn/posthorn"
)

// acceptRows is a batch of acceptances as arrays, one value per event or per match.
type acceptRows struct {
	keyedRows
	matches                                    integers
	types, contentTypes, orderingKeys, parents texts
	headers, payloads                          blobs
	deliverAt, expiresAt                       moments
	match                                      matchRows
	// keyed are the places of the events that have an idempotency key.
	keyed []int
	// owner and nth are, for each match, the place of its event and its own among the event's.
	owner, nth []int
	// ordered are the subscriptions matched that may be FIFO, once each.
	ordered uuids
}

// keyedRows are the arrays that decide about idempotency keys.
type keyedRows struct {
	events, tenants uuids
	versions        bigints
	keys            texts
	hashes          blobs
}

// matchRows are the arrays of the matches; what belongs to the event is repeated so that nothing must be joined.
type matchRows struct {
	events, tenants, subscriptions, deliveries, tokens uuids
	reasons, types, orderingKeys                       texts
	deliverAt, expiresAt                               moments
	bytes                                              integers
}

func newAcceptRows(batch []posthorn.Acceptance) *acceptRows {
	r := &acceptRows{}
	r.reserve(batch)
	for i := range batch {
		a := &batch[i]
		r.addEvent(i, a)
		for j := range a.Matches {
			r.addMatch(i, j, a.Event, &a.Matches[j])
			if m := &a.Matches[j]; !m.Unordered || a.Version == posthorn.AnyVersion {
				r.ordered = append(r.ordered, m.SubscriptionID.UUID)
			}
		}
	}
	slices.SortFunc(r.ordered, compareIDs)
	r.ordered = slices.Compact(r.ordered)
	return r
}

// isMatched reports that each match of what is stored becomes a delivery without a sequence. A key is taken before the other rows
// are looked at, and a subscription may go between the two.
func (r *acceptRows) isMatched() bool { return len(r.keyed) == 0 && len(r.ordered) == 0 }

// reserve makes room for a batch.
func (r *acceptRows) reserve(batch []posthorn.Acceptance) {
	n, m := len(batch), 0
	for i := range batch {
		m += len(batch[i].Matches)
	}
	columns(n, &r.events, &r.tenants)
	columns(n, &r.keys, &r.types, &r.contentTypes, &r.orderingKeys, &r.parents)
	columns(n, &r.hashes, &r.headers, &r.payloads)
	columns(n, &r.versions)
	columns(n, &r.matches)
	columns(n, &r.deliverAt, &r.expiresAt)
	t := &r.match
	columns(m, &t.events, &t.tenants, &t.subscriptions, &t.deliveries, &t.tokens)
	columns(m, &t.reasons, &t.types, &t.orderingKeys)
	columns(m, &t.deliverAt, &t.expiresAt)
	columns(m, &t.bytes)
	columns(m, &r.owner, &r.nth)
}

func (r *acceptRows) addEvent(place int, a *posthorn.Acceptance) {
	e := a.Event
	var hash []byte
	if e.IdempotencyKey != "" {
		r.keyed = append(r.keyed, place)
		sum := e.ContentHash()
		hash = sum[:]
	}
	r.events = append(r.events, e.ID.UUID)
	r.tenants = append(r.tenants, e.TenantID.UUID)
	r.versions = append(r.versions, a.Version)
	r.keys = append(r.keys, e.IdempotencyKey)
	r.hashes = append(r.hashes, hash)
	r.matches = append(r.matches, int32(len(a.Matches)))
	r.types = append(r.types, e.Type)
	r.contentTypes = append(r.contentTypes, e.ContentType)
	r.orderingKeys = append(r.orderingKeys, e.OrderingKey)
	r.parents = append(r.parents, e.TraceParent)
	r.headers = append(r.headers, eventHeaders(e))
	r.deliverAt = append(r.deliverAt, e.DeliverAt)
	r.expiresAt = append(r.expiresAt, e.ExpiresAt)
	payload := e.Payload
	if payload == nil {
		payload = []byte{}
	}
	r.payloads = append(r.payloads, payload)
}

// eventHeaders are the event's headers as JSON text; absent ones are NULL.
func eventHeaders(e *posthorn.Event) []byte {
	if e.Headers == nil {
		return nil
	}
	text, _ := json.Marshal(e.Headers) // maps of texts always encode
	return text
}

func (r *acceptRows) addMatch(place, nth int, e *posthorn.Event, m *posthorn.Match) {
	r.owner = append(r.owner, place)
	r.nth = append(r.nth, nth)
	t := &r.match
	t.events = append(t.events, e.ID.UUID)
	t.tenants = append(t.tenants, e.TenantID.UUID)
	t.subscriptions = append(t.subscriptions, m.SubscriptionID.UUID)
	t.deliveries = append(t.deliveries, m.DeliveryID.UUID)
	t.tokens = append(t.tokens, m.Attempt.UUID)
	t.reasons = append(t.reasons, string(m.Reason))
	t.types = append(t.types, e.Type)
	t.orderingKeys = append(t.orderingKeys, e.OrderingKey)
	t.deliverAt = append(t.deliverAt, e.DeliverAt)
	t.expiresAt = append(t.expiresAt, e.ExpiresAt)
	t.bytes = append(t.bytes, int32(len(e.Payload)))
}

// onlyKeyed are the rows of the events that have a key.
func (r *acceptRows) onlyKeyed() keyedRows {
	var k keyedRows
	for _, i := range r.keyed {
		k.events = append(k.events, r.events[i])
		k.tenants = append(k.tenants, r.tenants[i])
		k.versions = append(k.versions, r.versions[i])
		k.keys = append(k.keys, r.keys[i])
		k.hashes = append(k.hashes, r.hashes[i])
	}
	return k
}

// arguments are those of acceptEvents, in order.
func (r *acceptRows) arguments(node posthorn.NodeID) []any {
	m := &r.match
	return inOnePiece(
		r.events, r.tenants, r.versions, r.keys, r.matches, r.types, r.contentTypes, r.orderingKeys, r.parents, r.headers,
		r.deliverAt, r.expiresAt, r.payloads,
		m.events, m.tenants, m.subscriptions, m.deliveries, m.tokens, m.reasons, m.types, m.orderingKeys, m.deliverAt,
		m.expiresAt, m.bytes,
		uuid(node.UUID), posthorn.Lease,
	)
}

// ids are all that need a partition.
func (r *acceptRows) ids() []posthorn.UUID {
	return append(slices.Clone([]posthorn.UUID(r.events)), r.match.deliveries...)
}

func compareIDs(a, b posthorn.UUID) int { return slices.Compare(a[:], b[:]) }
