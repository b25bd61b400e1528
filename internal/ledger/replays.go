package ledger

import "github.com/posthorn/posthorn"

// checkReplays wants a bulk replay to have made what it counts, and of one event to one subscription a single delivery,
// however often the node that worked on it was hurt.
func (b *book) checkReplays() {
	for i := range b.Replays {
		r := &b.Replays[i]
		made := map[pair]int{}
		total := 0
		for _, e := range b.entries {
			if e.Replay != r.ID {
				continue
			}
			total++
			if made[pair{e.EventID, e.SubscriptionID}]++; made[pair{e.EventID, e.SubscriptionID}] == 2 {
				b.fault(Doubled, e, "%s made more than one of it", r.ID)
			}
		}
		if total != r.Created {
			b.eventFault(Disagreed, posthorn.EventID{}, "%s counts %d deliveries and made %d", r.ID, r.Created, total)
		}
		if r.State == posthorn.ReplayFailed {
			b.eventFault(Stuck, posthorn.EventID{}, "%s failed: %s", r.ID, r.Error)
		}
	}
}
