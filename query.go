package posthorn

import (
	"slices"
	"strings"
	"time"
)

// Page bounds a list: at most Limit rows (1–200) of the ids below Before, newest first. The zero Before starts at the
// newest. Scans are bounded too: a page may be short, even empty, while the returned next id is not zero.
type Page struct {
	Limit  int
	Before UUID
}

// MaxExamined bounds the rows that are read for one page of a filtered list, which takes tens of milliseconds at most.
const MaxExamined = 3000

// SubscriptionFilter narrows a list of subscriptions; zero fields do not.
type SubscriptionFilter struct {
	Status Status
	// Text is found in the URL or the description, regardless of case.
	Text string
}

// Wants reports whether a subscription passes the filter.
func (f *SubscriptionFilter) Wants(s *Subscription) bool {
	text := strings.ToLower(f.Text)
	return (f.Status == "" || f.Status == s.Status) &&
		(strings.Contains(strings.ToLower(s.URL), text) || strings.Contains(strings.ToLower(s.Description), text))
}

// MaxEventDeliveries bounds the deliveries that are listed with their event, MaxDeliveryAttempts the attempts of one delivery.
const (
	MaxEventDeliveries  = 10_000
	MaxDeliveryAttempts = 1000
)

// EventFilter narrows a list of events; zero fields do not.
type EventFilter struct {
	// Types are types or patterns as in a subscription.
	Types          []string
	Status         EventStatus
	SubscriptionID SubscriptionID
	Since, Until   time.Time
	// Text is an event's id or idempotency key, whole or its beginning.
	Text string
}

// Wants reports whether an event passes the filter but for Status and SubscriptionID, which its deliveries decide.
func (f *EventFilter) Wants(e *Event) bool {
	return (len(f.Types) == 0 || MatchesType(f.Types, e.Type)) &&
		(f.Since.IsZero() || !e.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || e.CreatedAt.Before(f.Until)) &&
		(f.Text == "" || strings.HasPrefix(e.ID.String(), f.Text) || strings.HasPrefix(e.IdempotencyKey, f.Text))
}

// EventSummary is an event as listed: no payload.
type EventSummary struct {
	Event
	PayloadBytes int
	Status       EventStatus
}

// DeliveryFilter narrows a list, a bulk change or a replay of deliveries; zero fields do not.
type DeliveryFilter struct {
	States         []State        `json:"states,omitempty"`
	Outcome        Outcome        `json:"outcome,omitempty"`
	StatusCode     int            `json:"status_code,omitempty"`
	SubscriptionID SubscriptionID `json:"subscription_id,omitzero"`
	EventID        EventID        `json:"event_id,omitzero"`
	Types          []string       `json:"types,omitempty"`
	Since          time.Time      `json:"since,omitzero"`
	Until          time.Time      `json:"until,omitzero"`
	// EndedSince leaves out what is pending and what ended before.
	EndedSince time.Time `json:"ended_since,omitzero"`
	Replay     ReplayID  `json:"replay,omitzero"`
}

// Wants reports whether a delivery passes the filter.
func (f *DeliveryFilter) Wants(d *Delivery) bool {
	return (len(f.States) == 0 || slices.Contains(f.States, d.State)) &&
		(f.Outcome == "" || f.Outcome == d.LastOutcome) &&
		(f.StatusCode == 0 || f.StatusCode == d.LastStatusCode) &&
		(f.SubscriptionID.IsZero() || f.SubscriptionID == d.SubscriptionID) &&
		(f.EventID.IsZero() || f.EventID == d.EventID) &&
		(f.Replay.IsZero() || f.Replay == d.Replay) &&
		(len(f.Types) == 0 || MatchesType(f.Types, d.EventType)) &&
		(f.Since.IsZero() || !d.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || d.CreatedAt.Before(f.Until)) &&
		(f.EndedSince.IsZero() || !d.CompletedAt.Before(f.EndedSince))
}

// BulkChange is a retry (OnRetry) or a cancellation (OnCancel) of all deliveries a filter finds, in bounded steps.
type BulkChange struct {
	Filter DeliveryFilter
	On     Trigger
	// DryRun only counts.
	DryRun bool
	// Before and Limit bound a step, as in a Page; Limit may be up to 10,000.
	Before UUID
	Limit  int
}

// BulkReport answers one step: Matched the filter and may be changed, Changed were. Next is zero at the end.
type BulkReport struct {
	Matched, Changed int
	Next             UUID
}

// Node is one process of the cluster as it reports itself.
type Node struct {
	ID       NodeID
	Hostname string
	Version  string
	Roles    []string
	// StartedAt and SeenAt are on the store's clock.
	StartedAt, SeenAt time.Time
	// Draining nodes claim nothing more; Drain is the request to.
	Draining, Drain bool
	InFlight, Held  int
	Lanes           int
	// DeliveredPerSecond is measured by the node since its last heartbeat.
	DeliveredPerSecond float64
	MemoryBytes        int64
	Goroutines         int
	LastError          string
	LastErrorAt        time.Time
	// Doing names what is in flight now, at most 100 attempts, oldest first.
	Doing []Doing
}

// Silent is how long a node has not been heard of. One that died before the clock was set back is ahead of it.
func (n *Node) Silent(now time.Time) time.Duration { return now.Sub(n.SeenAt).Abs() }

// Doing is one attempt in flight.
type Doing struct {
	DeliveryID     DeliveryID     `json:"delivery_id"`
	SubscriptionID SubscriptionID `json:"subscription_id"`
	Number         int            `json:"attempt"`
	Since          time.Time      `json:"since"`
}

// Bounds of what is told of a backlog.
const (
	// QueueCounted bounds what is counted of all lanes together, LaneCounted of one.
	QueueCounted = 100_000
	LaneCounted  = 10_000
	// RetryHours is how many hours ahead retries are counted.
	RetryHours = 24
)

// Queue is the backlog as a whole.
type Queue struct {
	// Pending counts all pending deliveries, Due those that could be sent now, Held those of lanes that are not active.
	// Above QueueCounted they are lower bounds and Capped is set.
	Pending, Due, Held int
	Capped             bool
	// OldestDue is how long the oldest due, unheld and unthrottled delivery has been waiting past its time. Lanes with a rate
	// limit are left out, in samples too: their owners let them wait, and no worker more would change it.
	OldestDue time.Duration
	// Retries counts the retries scheduled in each of the next RetryHours.
	Retries []int
}

// LaneBacklog is one lane with its waiting deliveries.
type LaneBacklog struct {
	Lane
	URL      string
	Status   Status
	Backlog  int
	InFlight int
	// Capped says that Backlog is a lower bound (LaneCounted).
	Capped    bool
	OldestDue time.Duration
	NextDue   time.Time
	RateLimit *RateLimit
}

// StatsFilter selects a time series: one point per step, for a tenant or one subscription.
type StatsFilter struct {
	SubscriptionID SubscriptionID
	Since, Until   time.Time
	// Step is a whole number of minutes.
	Step time.Duration
}

// StatsPoint is what happened in one step.
type StatsPoint struct {
	At        time.Time
	Accepted  int64
	Attempts  int64
	Succeeded int64
	Failed    int64
	Retried   int64
	Exhausted int64
	// Latency counts the succeeded deliveries by time from acceptance to success, Durations the attempts by their own:
	// the i-th is up to LatencyBounds[i], the last above all of them.
	Latency, Duration [LatencyBuckets]int64
}

// LatencyBuckets is the number of buckets of a histogram of times.
const LatencyBuckets = 12

// LatencyBounds are the upper bounds of all buckets but the last.
var LatencyBounds = [LatencyBuckets - 1]time.Duration{
	2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute,
}

// LatencyBucket is the index of the bucket a time falls into.
func LatencyBucket(d time.Duration) int {
	for i, bound := range LatencyBounds {
		if d <= bound {
			return i
		}
	}
	return LatencyBuckets - 1
}

// StoreHealth is how the store is.
type StoreHealth struct {
	Latency time.Duration
	// Migration is the schema's version, Expected the one this binary has.
	Migration, Expected int64
	// PoolUsed of PoolSize connections are busy.
	PoolUsed, PoolSize int
	// Full says that the disk had no room for a write in the last seconds. SQLite alone knows it.
	Full bool
}

// StoreWork counts transactions, those that only read included where they cost the database the same, and their statements.
type StoreWork struct {
	Transactions, Statements int64
}

// Retention says what cleanup may remove.
type Retention struct {
	// Logs is how long ended deliveries, their events and attempts, idempotency keys and rollups are kept.
	Logs time.Duration
	// Batch bounds the rows removed in one transaction where rows are removed one by one.
	Batch int
}

// CleanupReport counts what one step removed; Done is false when there is more. Behind says that some of what is past the retention
// stays for now, as nobody has looked through the deliveries of that time: it goes at a later time.
type CleanupReport struct {
	Events, Deliveries, Attempts, Keys int64
	Partitions                         int
	Done, Behind                       bool
}

// ExpiringBacklog is what a held lane is about to lose.
type ExpiringBacklog struct {
	TenantID       TenantID
	SubscriptionID SubscriptionID
	HeldSince      time.Time
	// ExpiresAt is when the first delivery is cancelled, no sooner than the notice from now; Deliveries are within the notice, counted
	// up to ExpiringCounted.
	ExpiresAt  time.Time
	Deliveries int
}

// ExpiringCounted bounds the counting of a backlog.
const ExpiringCounted = 10_000

// Withdrawal is one bounded step of ending pending deliveries that must not wait any longer.
type Withdrawal struct {
	// Hold is how long a paused or disabled subscription may hold; Window the retry window.
	Hold, Window time.Duration
	// Notice is how long before the owner must have been told (Lane.WarnedAt) that a hold ends; with zero nobody need be.
	Notice time.Duration
	Batch  int
}

// Told says whether the owner of a held lane has had the notice, in the present hold.
func (w *Withdrawal) Told(l *Lane, now time.Time) bool {
	return w.Notice == 0 || !l.WarnedAt.Before(l.HeldSince) && !l.WarnedAt.Add(w.Notice).After(now)
}

// WithdrawalReport counts by reason; Done is false when there is more.
type WithdrawalReport struct {
	Ended map[Reason]int
	// Updates are the ended deliveries for those who watch.
	Updates []Update
	Done    bool
}
