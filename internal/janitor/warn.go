package janitor

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// typeExpiring is the event that says what a held subscription is about to lose.
	typeExpiring = "posthorn.subscription.backlog_expiring"
	// longestNotice is how long before: half of the hold where that is shorter than two days.
	longestNotice = 24 * time.Hour
	// warnBatch bounds the lanes of one look; the rest come with the next.
	warnBatch = 100
)

// notice is how long before a hold ends its announcement is made. What was announced late, as where no janitor ran or the hold was
// made shorter, is held for the notice all the same. It is none where nobody announces.
func (j *Janitor) notice() time.Duration {
	if j.opts.Announcer == nil {
		return 0
	}
	return min(longestNotice, j.opts.Hold/2)
}

// warn announces, once in each hold, that a lane's held deliveries near their end. The announcement comes before the note
// that it was made: a janitor that dies between the two makes it again, under the key that knows it as the same.
func (j *Janitor) warn() {
	if j.opts.Announcer == nil || j.opts.Hold <= 0 {
		return
	}
	found, err := j.opts.Store.ExpiringBacklogs(j.life, j.opts.Hold, j.notice(), warnBatch)
	if err != nil {
		j.fault("expiring backlogs not found", err)
		return
	}
	told := posthorn.RecordBatch{Node: j.opts.Node}
	for _, b := range found {
		if err := j.announce(&b); err != nil {
			j.fault("expiring backlog not announced", err)
			continue
		}
		j.opts.Log.Warn("held deliveries will be cancelled", "subscription", b.SubscriptionID, "deliveries", b.Deliveries, "from", b.ExpiresAt)
		told.Lanes = append(told.Lanes, posthorn.LaneChange{SubscriptionID: b.SubscriptionID, TenantID: b.TenantID, Warned: true})
	}
	if len(told.Lanes) == 0 {
		return
	}
	if _, err := j.opts.Store.RecordAttempts(j.life, told); err != nil {
		j.fault("announced backlogs not noted", err)
	}
}

// announcers is how many announcements are made at a time: those that come together share a commit.
const announcers = 16

// announceEnded says which deliveries ended without success. They are those of one step, which bounds them; losing an
// announcement loses no delivery.
func (j *Janitor) announceEnded(updates []posthorn.Update) {
	if j.opts.Announcer == nil {
		return
	}
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, announcers)
	for i := range updates {
		event := updates[i].Exhausted()
		if event == nil {
			continue
		}
		slots <- struct{}{}
		working.Go(func() {
			defer func() { <-slots }()
			if err := j.opts.Announcer.Announce(j.life, updates[i].TenantID, event); err != nil {
				j.fault("exhausted delivery not announced", err)
			}
		})
	}
}

func (j *Janitor) announce(b *posthorn.ExpiringBacklog) error {
	payload, err := json.Marshal(map[string]any{
		"subscription_id": b.SubscriptionID.String(), "held_since": b.HeldSince.UTC(), "expires_at": b.ExpiresAt.UTC(),
		"deliveries": b.Deliveries, "more": b.Deliveries >= posthorn.ExpiringCounted,
	})
	if err != nil {
		return err
	}
	return j.opts.Announcer.Announce(j.life, b.TenantID, &posthorn.Event{
		Type: typeExpiring, Payload: payload,
		IdempotencyKey: typeExpiring + ":" + b.SubscriptionID.String() + ":" + b.HeldSince.UTC().Format(time.RFC3339),
	})
}
