package posthorn

import "time"

// Signal travels on the bus between the parts of a node and between nodes. Any may be lost: each only saves time.
type Signal struct {
	// From is the sending node. The bus gives a node its own signals at once, and not again when they come back.
	From NodeID `json:"from"`
	// Wake says that unclaimed deliveries are due.
	Wake bool `json:"wake,omitempty"`
	// Recall says that deliveries were cancelled: workers ask which of those that wait with them are still theirs.
	Recall bool `json:"recall,omitempty"`
	// Changed names tenants whose subscriptions moved to a version.
	Changed []Change `json:"changed,omitempty"`
	// Replays says that a replay was made or ended.
	Replays bool `json:"replays,omitempty"`
	// Keys says that API keys changed: caches of keys are to be dropped.
	Keys bool `json:"keys,omitempty"`
	// Lanes are the new states of lanes.
	Lanes []Lane `json:"lanes,omitempty"`
	// Updates are for those who watch; sent only while someone does.
	Updates []Update `json:"updates,omitempty"`
	// Reread names a tenant whose deliveries changed without Updates, as they are many or not known one by one: those who watch read
	// the store.
	Reread TenantID `json:"reread,omitzero"`
	// Drain asks a node to claim nothing more.
	Drain NodeID `json:"drain,omitzero"`
}

// Change says that a tenant's subscriptions have a new version.
type Change struct {
	TenantID TenantID `json:"tenant"`
	Version  int64    `json:"version"`
}

// Update is one thing that happened to a delivery: it was created, attempted, or moved. One without a delivery tells of an
// event that was accepted and that no subscription wanted.
type Update struct {
	// At is the store's clock: the id a watcher resumes from.
	At             time.Time      `json:"at"`
	TenantID       TenantID       `json:"tenant"`
	DeliveryID     DeliveryID     `json:"delivery_id"`
	EventID        EventID        `json:"event_id"`
	SubscriptionID SubscriptionID `json:"subscription_id"`
	EventType      string         `json:"event_type"`
	State          State          `json:"state"`
	Reason         Reason         `json:"reason,omitempty"`
	Attempts       int            `json:"attempts"`
	DueAt          time.Time      `json:"due_at,omitzero"`
	// The attempt's part; Attempt is zero when the update is not about one.
	Attempt    AttemptID     `json:"attempt_id,omitzero"`
	Number     int           `json:"attempt,omitempty"`
	Outcome    Outcome       `json:"outcome,omitempty"`
	StatusCode int           `json:"status_code,omitempty"`
	Duration   time.Duration `json:"duration,omitempty"`
	Error      string        `json:"error,omitempty"`
}

// UpdateOf tells of a delivery as it is.
func UpdateOf(d *Delivery, at time.Time) Update {
	u := Update{
		At: at, TenantID: d.TenantID, DeliveryID: d.ID, EventID: d.EventID, SubscriptionID: d.SubscriptionID,
		EventType: d.EventType, State: d.State, Reason: d.Reason, Attempts: d.Attempts,
	}
	if d.State == Pending {
		u.DueAt = d.DueAt
	}
	return u
}
