package storetest

import "github.com/posthorn/posthorn"

// bulk runs all steps of a bulk change.
func (f *Fixture) bulk(c posthorn.BulkChange) (matched, changed, steps int) {
	f.T.Helper()
	for {
		report, err := f.Store.ChangeDeliveries(f.Context(), f.Tenant, c)
		f.must(err)
		matched += report.Matched
		changed += report.Changed
		steps++
		if report.Next.IsZero() {
			return matched, changed, steps
		}
		if steps > 100 {
			f.T.Fatal("a bulk change does not end")
		}
		c.Before = report.Next
	}
}

func manualBulkRetry(f *Fixture) {
	sub, other, gone := f.Subscribe(), f.Subscribe(), f.Subscribe()
	want := []posthorn.DeliveryID{f.Exhaust(sub), f.Exhaust(sub)}
	f.Exhaust(other)
	f.Exhaust(gone)
	f.must(f.Store.DeleteSubscription(f.Context(), f.Tenant, gone))
	succeeded := f.Deliver(sub)
	matched, changed, _ := f.bulk(posthorn.BulkChange{
		Filter: posthorn.DeliveryFilter{SubscriptionID: sub}, On: posthorn.OnRetry, Limit: 100,
	})
	equal(f, "matched", matched, 2)
	equal(f, "changed", changed, 2)
	wantSet(f, "claimed", claimedIDs(f.Claim()), want...)
	f.wantState(succeeded, posthorn.Delivered, posthorn.ReasonNone)
	matched, changed, _ = f.bulk(posthorn.BulkChange{
		Filter: posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted}, SubscriptionID: gone},
		On:     posthorn.OnRetry, Limit: 100,
	})
	equal(f, "matched of the deleted", matched, 0)
	equal(f, "changed of the deleted", changed, 0)
}

func manualBulkCancel(f *Fixture) {
	sub := f.Subscribe()
	waiting := f.PublishOne(sub)
	claimed := f.PublishOne(sub)
	f.must(f.Store.ReleaseClaims(f.Context(), []posthorn.Claim{f.Claim()[0].Claim}))
	exhausted := f.Exhaust(f.Subscribe())
	_, changed, _ := f.bulk(posthorn.BulkChange{
		Filter: posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Pending}}, On: posthorn.OnCancel, Limit: 100,
	})
	equal(f, "changed", changed, 2)
	f.wantState(waiting, posthorn.Cancelled, posthorn.ReasonRequested)
	f.wantState(claimed, posthorn.Cancelled, posthorn.ReasonRequested)
	f.wantState(exhausted, posthorn.Exhausted, posthorn.ReasonAttempts)
	f.ClaimNone()
}

func manualBulkDryRun(f *Fixture) {
	sub := f.Subscribe()
	ids := []posthorn.DeliveryID{f.Exhaust(sub), f.Exhaust(sub), f.Exhaust(sub)}
	matched, changed, _ := f.bulk(posthorn.BulkChange{On: posthorn.OnRetry, DryRun: true, Limit: 100})
	equal(f, "matched", matched, 3)
	equal(f, "changed", changed, 0)
	for _, id := range ids {
		f.wantState(id, posthorn.Exhausted, posthorn.ReasonAttempts)
	}
}

func manualBulkSteps(f *Fixture) {
	sub := f.Subscribe()
	for range 25 {
		f.Exhaust(sub)
	}
	_, changed, steps := f.bulk(posthorn.BulkChange{
		Filter: posthorn.DeliveryFilter{States: []posthorn.State{posthorn.Exhausted}}, On: posthorn.OnRetry, Limit: 10,
	})
	equal(f, "changed", changed, 25)
	if steps < 3 {
		f.T.Fatalf("%d steps for 25 deliveries by 10", steps)
	}
	equal(f, "claims", len(f.Claim()), 25)
}
