package posthorn

import "time"

// State of a delivery. A pending one is waiting, claimed or due for a retry.
type State string

// The states. Exhausted and cancelled deliveries can be retried by hand; succeeded is final.
const (
	Pending   State = "pending"
	Delivered State = "succeeded"
	Exhausted State = "exhausted"
	Cancelled State = "cancelled"
)

// Reason says why a delivery ended without success.
type Reason string

// The reasons.
const (
	ReasonNone                Reason = ""
	ReasonAttempts            Reason = "attempts"             // the policy's attempts are used up
	ReasonWindow              Reason = "window"               // the retry window is past
	ReasonFinalStatus         Reason = "final_status"         // the answer's status is one the policy does not retry
	ReasonManual              Reason = "manual"               // the last manual retry of an ended delivery failed
	ReasonRequested           Reason = "requested"            // a person cancelled it
	ReasonSubscriptionDeleted Reason = "subscription_deleted" // its subscription was deleted
	ReasonHeldTooLong         Reason = "held_too_long"        // held past POSTHORN_HOLD
	ReasonFilterError         Reason = "filter_error"         // the subscription's filter failed on this event
	ReasonExpired             Reason = "expired"              // the event's expires_at is past
	ReasonPayloadErased       Reason = "payload_erased"       // the payload was erased on request
	ReasonSkipped             Reason = "skipped"              // its subscription was resumed without what it had held
)

// Trigger is what moves a delivery.
type Trigger string

// The triggers.
const (
	OnSuccess  Trigger = "attempt succeeded"
	OnFailure  Trigger = "attempt failed, attempts left"
	OnExhaust  Trigger = "attempts or window used up, or a final status"
	OnRetry    Trigger = "manual retry"
	OnCancel   Trigger = "cancelled by a person"
	OnWithdraw Trigger = "deleted, held too long, skipped, expired or erased"
)

// Transition is one row of the state machine.
type Transition struct {
	From State
	On   Trigger
	To   State
}

// Transitions is the whole state machine: what is not here is a conflict. docs/states.md draws it.
var Transitions = []Transition{
	{Pending, OnSuccess, Delivered},
	{Pending, OnFailure, Pending},
	{Pending, OnExhaust, Exhausted},
	{Pending, OnRetry, Pending},
	{Pending, OnCancel, Cancelled},
	{Pending, OnWithdraw, Cancelled},
	{Exhausted, OnRetry, Pending},
	{Cancelled, OnRetry, Pending},
}

// Next is the state after a trigger; false means the state does not allow it.
func (s State) Next(on Trigger) (State, bool) {
	for _, t := range Transitions {
		if t.From == s && t.On == on {
			return t.To, true
		}
	}
	return s, false
}

// ManualRetry says whether the next claim is a manual retry, and what a failure of it returns the delivery to.
type ManualRetry int8

// The kinds of manual retry.
const (
	NotManual          ManualRetry = 0
	ManualWhilePending ManualRetry = 1 // a failure returns it to its DueAt
	ManualAfterEnd     ManualRetry = 2 // a failure exhausts it again
)

// Delivery is one event to one subscription: the unit of work, and the only thing with a state.
type Delivery struct {
	ID             DeliveryID
	TenantID       TenantID
	EventID        EventID
	SubscriptionID SubscriptionID
	EventType      string
	State          State
	Reason         Reason
	// Attempts counts the requests started so far (claims that were released unsent not included).
	Attempts int
	// Spent counts those that cost the policy's budget.
	Spent int
	// Interruptions counts the interrupted attempts in a row.
	Interruptions int
	Manual        ManualRetry
	// DueAt is the schedule people see; claims do not touch it.
	DueAt time.Time
	// ClaimedUntil is the end of the claim's lease, Claim its token and ClaimedBy its node; zero when unclaimed.
	ClaimedUntil   time.Time
	Claim          AttemptID
	ClaimedBy      NodeID
	OrderingKey    string
	Sequence       int64 // order within a FIFO lane, negative once it has left that order; zero elsewhere
	LastOutcome    Outcome
	LastStatusCode int
	LastError      string
	// HeldBase is the lane's HeldTotal at creation, less the wait for the event's DeliverAt: the retry window runs neither
	// then nor while the lane is held.
	HeldBase    time.Duration
	Replay      ReplayID
	CreatedAt   time.Time
	UpdatedAt   time.Time
	CompletedAt time.Time
}

// EventStatus is derived, never stored, from each subscription's latest delivery.
type EventStatus string

// The event statuses.
const (
	EventPending   EventStatus = "pending"
	EventSucceeded EventStatus = "succeeded"
	EventPartial   EventStatus = "partial"
	EventFailed    EventStatus = "failed"
	EventUnmatched EventStatus = "unmatched"
)

// DeriveStatus works on the states of each subscription's latest delivery of one event: none is unmatched, any pending
// is pending, all succeeded is succeeded, none succeeded is failed, else partial.
func DeriveStatus(latest []State) EventStatus {
	succeeded := 0
	for _, s := range latest {
		switch s {
		case Pending:
			return EventPending
		case Delivered:
			succeeded++
		}
	}
	switch {
	case len(latest) == 0:
		return EventUnmatched
	case succeeded == len(latest):
		return EventSucceeded
	case succeeded == 0:
		return EventFailed
	}
	return EventPartial
}

// Lane is what applies to all deliveries of one subscription on every node: one row per subscription in the store.
type Lane struct {
	SubscriptionID SubscriptionID
	TenantID       TenantID
	// ThrottledUntil is set by Retry-After and 429; manual retries pass it.
	ThrottledUntil time.Time
	// BreakerOpens counts openings in a row (0: closed); until BreakerUntil nothing is sent, then one probe.
	BreakerOpens int
	BreakerUntil time.Time
	// FailingSince is the first failure since the last success that was the subscriber's fault; zero when healthy.
	FailingSince time.Time
	// HeldSince is when the lane was paused or disabled (zero: not held); HeldFor sums the finished holds.
	HeldSince time.Time
	HeldFor   time.Duration
	// WarnedAt is when the operator was last told that the subscription is failing, or that held deliveries near their end.
	WarnedAt time.Time
	// SkippedAt is when the subscription was last resumed without what it had held.
	SkippedAt time.Time
}

// Skips reports whether a pending delivery is of a backlog that the lane was resumed without. What a person has retried
// since is not.
func (l *Lane) Skips(d *Delivery) bool {
	return !l.SkippedAt.IsZero() && !d.CreatedAt.After(l.SkippedAt) && d.Manual != ManualAfterEnd
}

// HeldTotal is how long the lane was held up to a moment.
func (l *Lane) HeldTotal(now time.Time) time.Duration {
	if l.HeldSince.IsZero() {
		return l.HeldFor
	}
	return l.HeldFor + now.Sub(l.HeldSince)
}

// WindowEnd is when the delivery's retry window ends if the lane is not held again. It runs from creation, holds excluded.
func (d *Delivery) WindowEnd(l *Lane, window time.Duration, now time.Time) time.Time {
	return d.CreatedAt.Add(window + l.HeldTotal(now) - d.HeldBase)
}
