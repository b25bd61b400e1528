package posthorn

import (
	"bytes"
	"slices"
	"time"
)

// ReplayState is how far a replay has come. The first two are active, the others its end.
type ReplayState string

// The states of a replay.
const (
	ReplayPending   ReplayState = "pending"
	ReplayRunning   ReplayState = "running"
	ReplayCompleted ReplayState = "completed"
	ReplayCancelled ReplayState = "cancelled"
	ReplayFailed    ReplayState = "failed"
)

// Ended reports whether the replay makes no more deliveries.
func (s ReplayState) Ended() bool { return s != ReplayPending && s != ReplayRunning }

// ReplayTarget says to whom a replay delivers.
type ReplayTarget string

// The targets: the subscriptions that had the deliveries found, or those that want their events now.
const (
	ToOriginal ReplayTarget = "original"
	ToMatching ReplayTarget = "matching"
)

// Bounds and defaults of a replay.
const (
	// MaxActiveReplays bounds a tenant's replays that have not ended.
	MaxActiveReplays = 20
	// MaxReplayReceivers bounds the subscriptions a replay can be narrowed to.
	MaxReplayReceivers = 100
	// DefaultReplayRate is how many deliveries a replay makes in a second unless it says otherwise.
	DefaultReplayRate = 500
)

// Replay is a job that makes new deliveries of what a filter finds: of each event to each subscription at most one, with
// its full retry policy. What it can find is fixed when it is made: ids below its own, and deliveries that had ended by
// then, so that it never finds its own work. It goes on where it stopped: Cursor moves in the transaction that makes
// the deliveries.
type Replay struct {
	ID       ReplayID
	TenantID TenantID
	State    ReplayState
	ReplayPlan
	ReplayProgress
	// Cursor is the last id looked at, of deliveries or events in ascending order.
	Cursor UUID
	// Error says why it failed, in words for its owner.
	Error string
	// Times are on the store's clock; zero for what has not happened.
	CreatedAt, StartedAt, UpdatedAt, CompletedAt time.Time
}

// ReplayPlan is what a client asks of a replay. Stores keep it as one JSON document.
type ReplayPlan struct {
	To ReplayTarget `json:"to"`
	// Filter finds deliveries: none that is pending, and of one event to one subscription the latest alone. Where To is
	// ToMatching and only types and times are given it finds events, delivered or not. EventID is not used.
	Filter DeliveryFilter `json:"filter"`
	// Only narrows ToMatching to these subscriptions; empty is all that match.
	Only      []SubscriptionID `json:"only,omitempty"`
	RateLimit RateLimit        `json:"rate_limit"`
}

// ReplayProgress is how far a replay has come. Stores keep it as one JSON document.
type ReplayProgress struct {
	// Total is what the filter matched when the replay was made; negative where counting would have taken too long.
	Total int `json:"total"`
	// Examined rows of which so many Matched the filter, from which so many deliveries were Created or left out.
	Examined int         `json:"examined"`
	Matched  int         `json:"matched"`
	Created  int         `json:"created"`
	Skipped  ReplaySkips `json:"skipped"`
}

// ReplaySkips counts the deliveries that a replay left out, by reason.
type ReplaySkips struct {
	// Superseded: the subscription has a later delivery of the event, or one that is on its way or not asked for.
	Superseded int `json:"superseded,omitempty"`
	// Gone: the event was removed by the retention.
	Gone int `json:"gone,omitempty"`
	// Erased: its payload was erased.
	Erased int `json:"erased,omitempty"`
	// Deleted: the subscription was deleted.
	Deleted int `json:"deleted,omitempty"`
	// Expired: the event's ExpiresAt is past.
	Expired int `json:"expired,omitempty"`
}

// Add sums two counts.
func (s *ReplaySkips) Add(o ReplaySkips) {
	s.Superseded += o.Superseded
	s.Gone += o.Gone
	s.Erased += o.Erased
	s.Deleted += o.Deleted
	s.Expired += o.Expired
}

// Sum is how many were left out.
func (s ReplaySkips) Sum() int { return s.Superseded + s.Gone + s.Erased + s.Deleted + s.Expired }

// OfEvents reports whether the replay walks over events: it delivers to what matches now, and nothing in the filter is
// about deliveries.
func (r *Replay) OfEvents() bool {
	f := &r.Filter
	return r.To == ToMatching && len(f.States) == 0 && f.Outcome == "" && f.StatusCode == 0 && f.SubscriptionID.IsZero() &&
		f.Replay.IsZero() && f.EndedSince.IsZero()
}

// Wants reports whether a delivery that is its event's latest to its subscription may be delivered again: it was there and
// had ended when the replay was made, in one of the states asked for. A clock that stands still does not make it one of the
// replay's own.
func (r *Replay) Wants(d *Delivery) bool {
	return d.State != Pending && d.Replay != r.ID && bytes.Compare(d.ID.UUID[:], r.ID.UUID[:]) < 0 && !d.CompletedAt.After(r.CreatedAt) &&
		(len(r.Filter.States) == 0 || slices.Contains(r.Filter.States, d.State))
}

// WantsEvent reports whether an event that the replay's filter selects (OfEvents) may be sent again: it was there when the replay
// was made. One that waits for its time is on its way already.
func (r *Replay) WantsEvent(e *Event) bool {
	f := &r.Filter
	return MatchesType(f.Types, e.Type) && !e.CreatedAt.Before(f.Since) && (f.Until.IsZero() || e.CreatedAt.Before(f.Until)) &&
		!e.CreatedAt.After(r.CreatedAt) && !e.DeliverAt.After(r.CreatedAt)
}

// ReplaySources is what one step of a replay begins with: what the filter found behind the cursor.
type ReplaySources struct {
	// Deliveries are to be made again as they were; for ToOriginal.
	Deliveries []Delivery
	// Events, with their payloads, are to be matched again; Latest holds the latest delivery of each to each subscription
	// that had one. For ToMatching.
	Events []Event
	Latest []Delivery
	// Examined rows were looked at and Matched the filter; Superseded of these had a later delivery.
	Examined, Matched, Superseded int
	// Cursor is the last id looked at; Done says that nothing comes after it.
	Cursor UUID
	Done   bool
}

// ReplayCopy is one delivery that a step is to make.
type ReplayCopy struct {
	Match
	EventID EventID
	// Seen is the latest delivery of the event to the subscription that the plan knew: with a later one there by now, or a
	// pending one, none is made.
	Seen DeliveryID
}

// ReplayStep is one step of a replay: it moves the cursor From where the plan began To where it ends.
type ReplayStep struct {
	ID       ReplayID
	TenantID TenantID
	From, To UUID
	Examined int
	Matched  int
	Skipped  ReplaySkips
	Copies   []ReplayCopy
	// State is ReplayRunning, or how the replay ends with this step; Error says why it fails.
	State ReplayState
	Error string
}

// ReplayCount is what a replay would do. Complete is false when counting stopped early: the rest are lower bounds.
type ReplayCount struct {
	Matched, Deliveries int
	Skipped             ReplaySkips
	Complete            bool
}

// Advance notes what a step did at a moment of the store's clock.
func (r *Replay) Advance(step *ReplayStep, created int, skipped ReplaySkips, now time.Time) {
	r.Cursor = step.To
	r.Examined += step.Examined
	r.Matched += step.Matched
	r.Created += created
	r.Skipped.Add(step.Skipped)
	r.Skipped.Add(skipped)
	if r.StartedAt.IsZero() {
		r.StartedAt = now
	}
	r.State, r.Error, r.UpdatedAt = step.State, step.Error, now
	if r.State.Ended() {
		r.CompletedAt = now
	}
}
