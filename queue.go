package posthorn

import "time"

// Lease is how long a claim lasts unless renewed. With the poll that finds it, a dead node's work is taken up within 30 s.
const Lease = 28 * time.Second

// InFlight is how long past its retry window a delivery may stay claimed: longer than any attempt lasts. One that a node holds
// beyond it and cannot send, as its subscription's secrets cannot be opened, ends like the others.
const InFlight = 5 * time.Minute

// LongestBreak is how long a lane's breaker stays open at most before its next probe.
const LongestBreak = 5 * time.Minute

// Acceptance is one event to be accepted with the deliveries it makes.
type Acceptance struct {
	Event *Event
	// Version is the subscriptions version the event was matched against; AnyVersion skips the check.
	Version int64
	Matches []Match
}

// AnyVersion marks an acceptance that does not depend on the matching set: a test sent to one subscription.
const AnyVersion = -1

// Match is one subscription that wants the event.
type Match struct {
	SubscriptionID SubscriptionID
	DeliveryID     DeliveryID
	// Attempt, when set, asks that the delivery be born claimed by this node under this token.
	Attempt AttemptID
	// Reason, when set, makes the delivery be born cancelled (ReasonFilterError).
	Reason Reason
	// Unordered says that the subscription has no order in the version of the acceptance, so the store need not ask.
	Unordered bool
}

// Accepted answers one Acceptance.
type Accepted struct {
	EventID   EventID
	CreatedAt time.Time
	// Deliveries is how many the event has; for a duplicate, as in the original answer.
	Deliveries int
	Duplicate  bool
	// Claimed are the deliveries born claimed, ready to be sent: a subset of those asked for, in the order of Matches.
	Claimed []Claimed
	// Err is this event's own error: Conflict (the key was used with other content) or Stale (match again).
	Err error
}

// Claim is a delivery leased to a worker. The attempt's id is the token that fences late results.
type Claim struct {
	DeliveryID DeliveryID
	Attempt    AttemptID
	// Number of the attempt the claim is for.
	Number int
}

// Claimed is a claim with what is needed to send it. Claimed deliveries of one event share the Event.
type Claimed struct {
	Claim
	Delivery Delivery
	Event    *Event
	// Version is the subscription's version when claimed: the sender uses this or a later one.
	Version int64
	// Failing says of what was born claimed that its lane was failing then. What the queue gives comes with its lane.
	Failing bool
}

// ClaimRequest says how much a node can take.
type ClaimRequest struct {
	Node NodeID
	// Limit bounds the claims, PerLane those of one lane (0: only lanes in Rooms give any), MaxBytes their payloads together
	// (one is always allowed).
	Limit    int
	PerLane  int
	MaxBytes int64
	// Rooms holds the lanes whose room is not PerLane; 0 leaves a lane out.
	Rooms map[SubscriptionID]int
}

// ClaimBatch is what a node got.
type ClaimBatch struct {
	// Claims come the first of each lane first, then the second of each, so that no lane waits behind another's backlog.
	Claims []Claimed
	// Ended are the deliveries that were found to have lost one lease too many.
	Ended []Update
	// Lanes are the states of the lanes claimed from.
	Lanes []Lane
	// Next is the wait until something may be claimed again, as far as the store knows cheaply: zero when it stopped at
	// a limit, negative when it knows of nothing.
	Next time.Duration
}

// Result is what became of a claim.
type Result struct {
	Claim
	// Attempt is the request made; nil when nothing was sent, which gives the attempt's number back.
	Attempt *Attempt
	// On is OnSuccess, OnFailure, OnExhaust or OnWithdraw; Reason belongs to the last two. The state follows Transitions.
	On     Trigger
	Reason Reason
	// Delay, on failure, is added to the store's clock and becomes DueAt; KeepDue leaves DueAt as it was instead.
	Delay   time.Duration
	KeepDue bool
	// Again, on failure, leaves a manual retry what it is and due at once: its attempt was interrupted.
	Again bool
	// Yield, on failure, takes the delivery out of its FIFO lane's order: those behind it wait for it no longer, and its
	// own retries come when they are due.
	Yield bool
	// Spends says that the attempt costs one of the policy's.
	Spends bool
}

// Recorded answers one Result.
type Recorded struct {
	// Moved is false when the claim had been lost: the attempt is kept, the delivery was not touched.
	Moved bool
	State State
	DueAt time.Time
	At    time.Time
}

// LaneChange is what a batch of results means for a whole lane. Durations count from the store's clock.
type LaneChange struct {
	SubscriptionID SubscriptionID
	TenantID       TenantID
	// Throttle extends ThrottledUntil, never shortens it.
	Throttle time.Duration
	// Failed starts FailingSince unless set; Recovered clears it and closes the breaker. Written on transitions only.
	Failed, Recovered bool
	// OpenFor opens the breaker, or opens it again.
	OpenFor time.Duration
	// Disable disables the subscription with a reason; with DisabledFailing only if it is failing after the batch's changes.
	Disable string
	// Warned notes that the owner was told.
	Warned bool
}

// RecordBatch is written in one transaction.
type RecordBatch struct {
	Node    NodeID
	Results []Result
	// Lanes are changed in order.
	Lanes []LaneChange
	// Awaited says that somebody waits for these results, as the next delivery of a FIFO lane does: they do not wait
	// to share a commit.
	Awaited bool
}

// RecordReport answers a RecordBatch.
type RecordReport struct {
	// Results answer those of the batch, in order.
	Results []Recorded
	// Lanes are the lanes of the batch's changes as they are then; Disabled the subscriptions this batch really disabled.
	Lanes    []Lane
	Disabled []SubscriptionID
}
