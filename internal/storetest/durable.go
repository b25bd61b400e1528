package storetest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
)

func durabilityTests() group {
	return group{"Durability", []test{
		{"Reopen", durableReopen},
		{"ReopenLosesClaims", durableClaims},
		{"SecretsSealedAtRest", durableSealed},
		{"EndedContextWritesNothing", durableContext},
		{"Concurrent", durableConcurrent},
	}}
}

// reopen goes on with the same data in a new store.
func (f *Fixture) reopen() {
	f.T.Helper()
	f.Store = f.harness.Reopen(f.T, f.Store)
}

func durableReopen(f *Fixture) {
	sub := f.Subscribe(Ordered)
	id := f.PublishOne(sub)
	f.Record(f.Failure(f.ClaimOne(id), time.Hour))
	keyed := f.keyed("k")
	f.PublishEvent(keyed, sub)
	key := f.NewKey("a")
	f.Change(sub, posthorn.LaneChange{Failed: true, OpenFor: time.Hour})
	version, lane := f.Version(), f.Lane(sub)
	subscription, delivery, attempts := f.Subscription(sub), f.Delivery(id), f.Attempts(id)

	f.reopen()
	equal(f, "version", f.Version(), version)
	equal(f, "lane", f.Lane(sub), lane)
	equal(f, "delivery", *f.Delivery(id), *delivery)
	if got := f.Subscription(sub); !reflect.DeepEqual(got, subscription) {
		f.T.Fatalf("subscription is\n%+v, want\n%+v", got, subscription)
	}
	if got := f.Attempts(id); !reflect.DeepEqual(got, attempts) {
		f.T.Fatalf("attempts are\n%+v, want\n%+v", got, attempts)
	}
	found, err := f.Store.FindKey(f.Context(), key.Hash)
	f.must(err)
	equal(f, "key", found.ID, key.ID)
	answer := f.acceptOne(f.Acceptance(f.keyed("k"), sub))
	f.must(answer.Err)
	equal(f, "duplicate", answer.Duplicate, true)
	equal(f, "original", answer.EventID, keyed.ID)
	// The lane's numbers go on.
	f.SetStatus(sub, posthorn.StatusPaused)
	equal(f, "sequence", f.Delivery(f.PublishOne(sub)).Sequence, int64(3))
}

func durableClaims(f *Fixture) {
	id := f.PublishOne(f.Subscribe())
	first := f.ClaimOne(id)
	f.reopen()
	f.Elapse(afterLease)
	c := f.ClaimOne(id)
	equal(f, "number", c.Number, 2)
	equal(f, "attempt", f.wantOutcomes(id, posthorn.Interrupted)[0].ID, first.Attempt)
}

func durableSealed(f *Fixture) {
	const canary, plain = "c4n4ry-5ecret", "plain-hostname"
	sub := f.Subscribe(func(s *posthorn.Subscription) {
		s.URL = "https://" + plain + ".example/"
		s.Secrets = []posthorn.Secret{{Value: "whsec_" + canary}}
		s.Headers = map[string]string{"X-Api-Key": canary}
	})
	_, err := f.Store.UpdateSubscription(f.Context(), f.Tenant, sub, func(s *posthorn.Subscription) error {
		s.Secrets = append(s.Secrets, posthorn.Secret{Value: "whsk_" + canary})
		return nil
	})
	f.must(err)
	f.Deliver(sub)
	equal(f, "secret", string(f.Subscription(sub).Secrets[1].Value), "whsk_"+canary)
	equal(f, "header", f.Subscription(sub).Headers["X-Api-Key"], canary)
	written := f.harness.AtRest(f.T, f.Store)
	if !bytes.Contains(written, []byte(plain)) {
		f.T.Fatal("what is at rest does not hold the subscription's URL: it is not all")
	}
	if bytes.Contains(written, []byte(canary)) {
		f.T.Fatal("a secret can be read at rest")
	}
}

func durableContext(f *Fixture) {
	sub := f.Subscribe()
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	e := f.NewEvent()
	if _, err := f.Store.AcceptEvents(ctx, f.Node, []posthorn.Acceptance{f.Acceptance(e, sub)}); err == nil {
		f.T.Fatal("accepted under a context that had ended")
	}
	_, err := f.Store.GetEvent(f.Context(), f.Tenant, e.ID)
	f.wantKind(err, posthorn.NotFound, "get the event")
	// The store goes on.
	f.Deliver(sub)
}

// durableConcurrent has everything happen at once: no error, nothing lost, nothing twice.
func durableConcurrent(f *Fixture) {
	subs := []posthorn.SubscriptionID{f.Subscribe(), f.Subscribe(Ordered), f.Subscribe(), f.Subscribe(Ordered)}
	const publishers, batches, perBatch = 4, 5, 8
	var wg sync.WaitGroup
	errs := make([]error, 2*publishers)
	for i := range publishers {
		work := make([][]posthorn.Acceptance, batches)
		for b := range work {
			for range perBatch {
				// Each publisher names the lanes in another order.
				rotated := append(append([]posthorn.SubscriptionID{}, subs[i%len(subs):]...), subs[:i%len(subs)]...)
				a := f.Acceptance(f.NewEvent(), rotated...)
				for j := range a.Matches {
					a.Matches[j].Attempt = posthorn.AttemptID{UUID: f.ID()}
				}
				work[b] = append(work[b], a)
			}
		}
		wg.Go(func() {
			for _, batch := range work {
				answers, err := f.Store.AcceptEvents(f.Context(), f.Node, batch)
				if err == nil {
					err = f.succeedAll(answers)
				}
				errs[i] = errors.Join(errs[i], err)
			}
		})
		req := f.request()
		req.Limit, req.Node = 20, posthorn.NodeID{UUID: f.ID()}
		wg.Go(func() {
			for range 2 * batches {
				got, err := f.Store.ClaimDeliveries(f.Context(), req)
				if err == nil {
					err = f.succeedAll([]posthorn.Accepted{{Claimed: got.Claims}})
				}
				errs[publishers+i] = errors.Join(errs[publishers+i], err)
			}
		})
	}
	wg.Wait()
	f.must(errors.Join(errs...))
	f.drain()
	total := publishers * batches * perBatch * len(subs)
	equal(f, "succeeded", f.stats(posthorn.StatsFilter{Since: f.Store.Now().Add(-time.Hour), Step: time.Hour}).Succeeded, int64(total))
	equal(f, "left", f.queue(f.Tenant).Pending, 0)
}

// succeedAll records the success of all claims, each of which must move its delivery.
func (f *Fixture) succeedAll(answers []posthorn.Accepted) error {
	var results []posthorn.Result
	for i := range answers {
		if err := answers[i].Err; err != nil {
			return err
		}
		for _, c := range answers[i].Claimed {
			results = append(results, f.Success(c))
		}
	}
	report, err := f.Store.RecordAttempts(f.Context(), posthorn.RecordBatch{Node: f.Node, Results: results})
	for _, r := range report.Results {
		if !r.Moved {
			return errors.New("a claim was lost")
		}
	}
	return err
}
