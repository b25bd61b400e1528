// Package posthorn holds the vocabulary of a webhook delivery service: events, subscriptions, deliveries and attempts,
// their validation, the state machine of a delivery, the retry policy, and the contract of a store. It does no I/O.
// Accepting, matching, sending, signing and storing are the rooms' under internal/.
package posthorn

import (
	"context"
	"time"
)

// Store is everything a store must do: the sum of the small interfaces below, so that one suite
// (internal/storetest) can test every store. Users declare the few methods they need.
//
// All methods are safe for concurrent use. Every change is durable when its method returns nil. Errors have a Kind:
// NotFound and Conflict are about the request, Unavailable means the store cannot answer now (locked, full, read-only,
// out of reach) and nothing was written, or possibly written where the text says so. Times that decide (due times,
// leases, windows) are on the store's own clock.
type Store interface {
	Intake
	DeliveryQueue
	SubscriptionStore
	CatalogueStore
	SourceStore
	EventStore
	PayloadEraser
	DeliveryStore
	ReplayStore
	KeyStore
	SessionStore
	AuditStore
	Vault
	NodeStore
	Upkeep
	Insight
	// Now is the store's clock, as near as this process knows it without asking.
	Now() time.Time
	Close() error
}

// Intake accepts events.
type Intake interface {
	// AcceptEvents stores the events and all their deliveries in ONE transaction and answers each, in order. An error means that nothing
	// was stored, unless it says so. What one event is refused for stops none of the others:
	//   - A key that the tenant has used within the retention: the original's answer where type, content type, headers, ordering key
	//     and payload are the same, else Conflict. Of two in one batch the first wins.
	//   - A Version that is not the tenant's present one: Stale. Under AnyVersion, matches deleted since are left out.
	// Deliveries are pending, due at once or at DeliverAt. Those that ask to be are born claimed instead, where the event has no
	// DeliverAt and the lane is active, not throttled, not FIFO and its breaker closed.
	// A FIFO lane numbers its deliveries in the order of the batch.
	AcceptEvents(ctx context.Context, node NodeID, batch []Acceptance) ([]Accepted, error)
	// Replay makes new deliveries of one stored event, due at once; with the subscriptions' lanes numbered as in
	// AcceptEvents. NotFound without the event, Conflict when its payload was erased or it has expired. Deleted subscriptions are
	// left out.
	Replay(ctx context.Context, tenant TenantID, event EventID, replay ReplayID, matches []Match) ([]Delivery, error)
}

// DeliveryQueue hands deliveries to workers and takes the results.
type DeliveryQueue interface {
	// ClaimDeliveries leases due deliveries for Lease: a few of each due lane, never the head of one long queue. Two
	// claimers never share a delivery. Left out are lanes that are paused, disabled, deleted, throttled or with an open
	// breaker; a manual retry passes throttle and breaker. A lane whose breaker is due for its probe gives one, and
	// BreakerUntil moves a lease ahead. Of a FIFO lane (per ordering key) only the lowest pending delivery is given, and
	// none while one is claimed; what has left the order (Result.Yield) is given when due. Claiming numbers the attempt.
	// Where a lease had run out, that attempt is written as interrupted first; beyond FreeInterruptions in a row each also
	// costs the budget, or is the failure of a manual retry, after which a pending delivery waits for its DueAt again.
	ClaimDeliveries(ctx context.Context, req ClaimRequest) (ClaimBatch, error)
	// RenewClaims extends the leases to Lease from now and returns the claims that are no longer held.
	RenewClaims(ctx context.Context, claims []Claim) (lost []Claim, err error)
	// ReleaseClaims returns claims of which nothing was sent: numbers are given back, the deliveries are due again.
	// Claims no longer held are passed over.
	ReleaseClaims(ctx context.Context, claims []Claim) error
	// RecordAttempts writes a batch of results in ONE transaction: inserts the attempts, moves the deliveries whose
	// claim is still held (Moved), changes the lanes, disables subscriptions (which moves the tenant's subscriptions
	// version and starts the hold), and counts for the statistics. A late result fills in its interrupted row and moves nothing.
	RecordAttempts(ctx context.Context, batch RecordBatch) (RecordReport, error)
}

// SubscriptionStore keeps subscriptions. Every change moves the tenant's subscriptions version.
type SubscriptionStore interface {
	// CreateSubscription stores a validated subscription with the ID given and fills Version, CreatedAt and UpdatedAt.
	CreateSubscription(ctx context.Context, s *Subscription) error
	// GetSubscription reads one that is not deleted.
	GetSubscription(ctx context.Context, tenant TenantID, id SubscriptionID) (*Subscription, error)
	// FindSubscriptions reads those of the ids that the tenant has, tombstones included, in no order.
	FindSubscriptions(ctx context.Context, tenant TenantID, ids []SubscriptionID) ([]Subscription, error)
	// ListSubscriptions lists those that are not deleted.
	ListSubscriptions(ctx context.Context, tenant TenantID, f SubscriptionFilter, p Page) ([]Subscription, UUID, error)
	// UpdateSubscription reads one, lets change alter it and writes it, atomically; an error from change is returned
	// and nothing is written. Leaving StatusActive starts the lane's hold; returning to it ends the hold, closes the
	// breaker and clears FailingSince; with SkipHeld, WithdrawDeliveries cancels what it held. A lane that becomes FIFO numbers
	// what is pending, which is a Conflict where that is more than MaxNumbered; in one that begins to skip failed deliveries, those
	// that have failed already leave the order.
	UpdateSubscription(ctx context.Context, tenant TenantID, id SubscriptionID,
		change func(*Subscription) error) (*Subscription, error)
	// DeleteSubscription leaves a tombstone: matching and claiming stop with it. Its pending deliveries are cancelled
	// by WithdrawDeliveries.
	DeleteSubscription(ctx context.Context, tenant TenantID, id SubscriptionID) error
	// SubscriptionsSince reads what changed after a version, tombstones included, and the present version; since 0 it
	// reads all that are not deleted. The two are of one moment.
	SubscriptionsSince(ctx context.Context, tenant TenantID, version int64) (int64, []Subscription, error)
	// Lanes reads the lanes of subscriptions, tombstones included, in no order.
	Lanes(ctx context.Context, tenant TenantID, ids []SubscriptionID) ([]Lane, error)
}

// CatalogueStore keeps each tenant's catalogue of event types. Every change moves the tenant's subscriptions version, so that
// an event that was checked against an older catalogue is refused as Stale by AcceptEvents.
type CatalogueStore interface {
	// CreateEventType stores a validated type, with the Row given, and fills CreatedAt and UpdatedAt. Conflict when the name
	// is taken or the catalogue has MaxCatalogue types.
	CreateEventType(ctx context.Context, t *EventType) error
	GetEventType(ctx context.Context, tenant TenantID, name string) (*EventType, error)
	// ListEventTypes lists newest first, by Row; the rows examined for one page are bounded.
	ListEventTypes(ctx context.Context, tenant TenantID, f EventTypeFilter, p Page) ([]EventType, UUID, error)
	// UpdateEventType reads one, lets change alter it and writes it, atomically; an error from change is returned and nothing
	// is written. The name stays.
	UpdateEventType(ctx context.Context, tenant TenantID, name string, change func(*EventType) error) (*EventType, error)
	DeleteEventType(ctx context.Context, tenant TenantID, name string) error
	// SetStrict says how the catalogue treats what it does not know; nil leaves it to the configuration.
	SetStrict(ctx context.Context, tenant TenantID, strict *bool) error
	// Catalogue reads what events are checked against, of one moment; Types only when they changed after a version.
	Catalogue(ctx context.Context, tenant TenantID, since int64) (*Catalogue, error)
}

// SourceStore keeps sources.
type SourceStore interface {
	// CreateSource stores a validated source with the ID given and fills CreatedAt and UpdatedAt.
	CreateSource(ctx context.Context, s *Source) error
	GetSource(ctx context.Context, tenant TenantID, id SourceID) (*Source, error)
	// FindSource reads a source of any tenant: for requests that name nothing else.
	FindSource(ctx context.Context, id SourceID) (*Source, error)
	// ListSources lists newest first.
	ListSources(ctx context.Context, tenant TenantID, p Page) ([]Source, UUID, error)
	// UpdateSource reads one, lets change alter it and writes it, atomically; an error from change is returned and nothing is
	// written. The counts stay.
	UpdateSource(ctx context.Context, tenant TenantID, id SourceID, change func(*Source) error) (*Source, error)
	// DeleteSource removes one; the events that came in by it stay.
	DeleteSource(ctx context.Context, tenant TenantID, id SourceID) error
	// CountSources adds to the counts of sources, in one transaction; those that are gone are passed over.
	CountSources(ctx context.Context, counts map[SourceID]SourceCounts) error
}

// EventStore reads events.
type EventStore interface {
	GetEvent(ctx context.Context, tenant TenantID, id EventID) (*Event, error)
	// ListEvents lists newest first; the rows examined for one page are bounded.
	ListEvents(ctx context.Context, tenant TenantID, f EventFilter, p Page) ([]EventSummary, UUID, error)
	// UsedKeys tells which of these idempotency keys the tenant has used within the retention.
	UsedKeys(ctx context.Context, tenant TenantID, keys []string) (map[string]bool, error)
	// EventStatus derives an event's status from each subscription's latest delivery, as ListEvents does.
	EventStatus(ctx context.Context, tenant TenantID, id EventID) (EventStatus, error)
	// EventDeliveries lists an event's deliveries, oldest first, at most MaxEventDeliveries.
	EventDeliveries(ctx context.Context, tenant TenantID, id EventID) ([]Delivery, error)
}

// PayloadEraser erases what an event carried.
type PayloadEraser interface {
	// ErasePayload removes the payload of an event and the bodies that its deliveries' receivers answered with, which may
	// repeat it, and cancels the event's pending deliveries; claims they had are lost. The payload goes first, with
	// PayloadErased: from then on nothing sends it. The rest goes in bounded steps; done again, also after it was cut
	// short, it goes on. It answers with the deliveries that this call ended, and when the payload was erased.
	ErasePayload(ctx context.Context, tenant TenantID, id EventID) (erased time.Time, ended []Delivery, err error)
}

// DeliveryStore reads deliveries and changes them on a person's behalf.
type DeliveryStore interface {
	GetDelivery(ctx context.Context, tenant TenantID, id DeliveryID) (*Delivery, error)
	// ListDeliveries lists newest first; the rows examined for one page are bounded.
	ListDeliveries(ctx context.Context, tenant TenantID, f DeliveryFilter, p Page) ([]Delivery, UUID, error)
	// ListAttempts lists a delivery's attempts by number, at most MaxDeliveryAttempts; NotFound when there is no such delivery.
	ListAttempts(ctx context.Context, tenant TenantID, id DeliveryID) ([]Attempt, error)
	// RetryDelivery makes the delivery due now, outside its automatic schedule (see ManualRetry). Conflict when it has
	// succeeded or is claimed, when its subscription is deleted, its payload erased or its event expired.
	RetryDelivery(ctx context.Context, tenant TenantID, id DeliveryID) (*Delivery, error)
	// CancelDelivery ends a pending delivery; a claim it had is lost, its attempt written as interrupted. Conflict
	// when it has ended.
	CancelDelivery(ctx context.Context, tenant TenantID, id DeliveryID) (*Delivery, error)
	// ChangeDeliveries does one step of a bulk change; deliveries that do not allow it are passed over.
	ChangeDeliveries(ctx context.Context, tenant TenantID, c BulkChange) (BulkReport, error)
}

// ReplayStore keeps replays and does their steps.
type ReplayStore interface {
	// CreateReplay stores a pending replay under the ID given, which bounds what it can find, and fills CreatedAt and
	// UpdatedAt. Conflict when the tenant has MaxActiveReplays.
	CreateReplay(ctx context.Context, r *Replay) error
	GetReplay(ctx context.Context, tenant TenantID, id ReplayID) (*Replay, error)
	// ListReplays lists newest first.
	ListReplays(ctx context.Context, tenant TenantID, p Page) ([]Replay, UUID, error)
	// CancelReplay ends an active replay; what it made stays. Conflict when it has ended.
	CancelReplay(ctx context.Context, tenant TenantID, id ReplayID) (*Replay, error)
	// ActiveReplays reads the active replays of all tenants, oldest first.
	ActiveReplays(ctx context.Context, limit int) ([]Replay, error)
	// ReplaySources reads what a replay finds behind its cursor, at most limit; the rows examined, and the bytes of
	// payloads read, are bounded too. The replay need not be stored.
	ReplaySources(ctx context.Context, r *Replay, limit int) (ReplaySources, error)
	// ReplayBacklog counts, up to limit, the replay's latest deliveries that are due in lanes that are being sent to.
	ReplayBacklog(ctx context.Context, r *Replay, limit int) (int, error)
	// StepReplay makes the step's deliveries, due at once and with the lanes numbered as in AcceptEvents, and moves the
	// cursor, in ONE transaction. A copy is left out, and counted, when its event, payload or subscription is gone by now,
	// or the subscription has a delivery of the event that the plan did not know. Conflict when the replay is not active
	// or its cursor not where the step begins: nothing was written.
	StepReplay(ctx context.Context, step ReplayStep) (*Replay, error)
}

// KeyStore keeps tenants and API keys.
type KeyStore interface {
	// CreateTenant stores a tenant under the ID given; Conflict when the name is taken.
	CreateTenant(ctx context.Context, t *Tenant) error
	FindTenant(ctx context.Context, name string) (*Tenant, error)
	GetTenant(ctx context.Context, id TenantID) (*Tenant, error)
	ListTenants(ctx context.Context, p Page) ([]Tenant, UUID, error)
	CreateKey(ctx context.Context, k *Key) error
	// FindKey reads the key with a hash, revoked and expired ones included.
	FindKey(ctx context.Context, hash [32]byte) (*Key, error)
	ListKeys(ctx context.Context, tenant TenantID, p Page) ([]Key, UUID, error)
	// RevokeKey ends a key; revoking it again changes nothing.
	RevokeKey(ctx context.Context, tenant TenantID, id KeyID) error
	// TouchKeys notes when keys were last used, never moving back.
	TouchKeys(ctx context.Context, used map[KeyID]time.Time) error
}

// NodeStore knows the processes of the cluster.
type NodeStore interface {
	// Heartbeat writes the node's report, with SeenAt of the store's clock, and says whether it was asked to drain.
	Heartbeat(ctx context.Context, n *Node) (drain bool, err error)
	// ListNodes lists those seen within the last day, oldest first.
	ListNodes(ctx context.Context) ([]Node, error)
	// DrainNode asks a node to claim nothing more.
	DrainNode(ctx context.Context, id NodeID) error
	// ForgetNode removes a node that stopped.
	ForgetNode(ctx context.Context, id NodeID) error
	// AcquireLease gives the named duty to a node for a time, or renews it; false while another holds it, whose lease ends no later than
	// one given now: longer ones are of a clock that was set back. It is a row, not a session lock, so that it works behind a pooler.
	AcquireLease(ctx context.Context, name string, node NodeID, ttl time.Duration) (bool, error)
	// ReleaseLease gives a duty back early.
	ReleaseLease(ctx context.Context, name string, node NodeID) error
}

// Upkeep is the janitor's work: each call one bounded step that never holds a writer long.
type Upkeep interface {
	// Cleanup removes what is older than the retention. What pending deliveries need stays: they, their events and
	// their attempts.
	Cleanup(ctx context.Context, r Retention) (CleanupReport, error)
	// WithdrawDeliveries ends pending deliveries whose subscription was deleted or resumed without them, that were held
	// too long (of which the owner was told the notice ago), whose window is past (exhausted; not while held, and InFlight later while claimed) or whose event expired. A
	// claim they had is lost. Where the
	// store's clock was set back since the last call, or before the start, what is pending keeps its waits, and no lease is
	// longer than Lease.
	WithdrawDeliveries(ctx context.Context, w Withdrawal) (WithdrawalReport, error)
	// ExpiringBacklogs finds lanes of which WithdrawDeliveries will end deliveries within the notice, as held for the hold,
	// and of whose present hold nobody was told (WarnedAt), at most limit.
	ExpiringBacklogs(ctx context.Context, hold, notice time.Duration, limit int) ([]ExpiringBacklog, error)
	// SampleQueue notes the present backlog of all together and of the tenants with the longest, for QueueHistory. Once
	// a minute counts: a second time within one changes nothing. What is counted is bounded as in Queue.
	SampleQueue(ctx context.Context) error
	// Prepare makes ahead what the coming days need (partitions); a store without such needs does nothing.
	Prepare(ctx context.Context) error
}

// Insight answers operators.
type Insight interface {
	Health(ctx context.Context) (StoreHealth, error)
	// Work counts what was asked of the database since the store was opened.
	Work() StoreWork
	// Queue sums the backlog of a tenant, or of all with the zero id. What a deleted subscription leaves to be cancelled is none.
	Queue(ctx context.Context, tenant TenantID) (Queue, error)
	// LaneBacklogs lists the lanes with the longest backlogs, at most limit.
	LaneBacklogs(ctx context.Context, tenant TenantID, limit int) ([]LaneBacklog, error)
	// Backlog counts what of one subscription is pending and not in flight, as LaneBacklogs does; capped says that there is more.
	Backlog(ctx context.Context, id SubscriptionID) (n int, capped bool, err error)
	// Stats reads the statistics; steps without anything are left out.
	Stats(ctx context.Context, tenant TenantID, f StatsFilter) ([]StatsPoint, error)
	// QueueHistory reads the samples of the queue of a tenant, or of all with the zero id, in steps; the subscription of the
	// filter counts for nothing. A step without a sample is left out, one in which nothing waited is not.
	QueueHistory(ctx context.Context, tenant TenantID, f StatsFilter) ([]QueuePoint, error)
	// Updates reads what happened to deliveries, and which events no subscription wanted, from a moment on, in order of
	// time, at most limit; more says that there was more than limit.
	Updates(ctx context.Context, tenant TenantID, since time.Time, limit int) (updates []Update, more bool, err error)
}
