package storetest

import (
	"time"

	"github.com/posthorn/posthorn"
)

func (f *Fixture) history(tenant posthorn.TenantID, step time.Duration) []posthorn.QueuePoint {
	f.T.Helper()
	now := f.Store.Now()
	points, err := f.Store.QueueHistory(f.Context(), tenant, posthorn.StatsFilter{Since: now.Add(-time.Hour), Until: now.Add(time.Hour), Step: step})
	f.must(err)
	return points
}

func insightHistory(f *Fixture) {
	busy, paused, ordered := f.Subscribe(), f.Subscribe(), f.Subscribe(Ordered)
	other := f.As(f.NewTenant("other"))
	other.PublishOne(other.Subscribe())
	f.PublishOne(busy)
	f.PublishOne(busy)
	f.PublishOne(paused)
	f.SetStatus(paused, posthorn.StatusPaused)
	f.PublishOne(ordered)
	f.PublishOne(ordered)
	f.Elapse(10 * time.Minute)
	f.must(f.Store.SampleQueue(f.Context()))
	points := f.history(f.Tenant, time.Hour)
	equal(f, "points", len(points), 1)
	p := points[0]
	equal(f, "pending", p.Pending, 5)
	equal(f, "due", p.Due, 3)
	equal(f, "held", p.Held, 1)
	f.wantAbout("oldest due", p.OldestDue, 10*time.Minute)
	all := f.history(posthorn.TenantID{}, time.Hour)
	equal(f, "points of all", len(all), 1)
	equal(f, "pending of all", all[0].Pending, 6)
	equal(f, "due of all", all[0].Due, 4)
	idle := f.history(f.NewTenant("idle"), time.Hour)
	equal(f, "points of an idle tenant", len(idle), 1)
	equal(f, "pending of an idle tenant", idle[0].Pending, 0)
}

func insightHistorySteps(f *Fixture) {
	sub := f.Subscribe()
	f.PublishOne(sub)
	f.must(f.Store.SampleQueue(f.Context()))
	f.Elapse(3 * time.Minute)
	f.PublishOne(sub)
	f.must(f.Store.SampleQueue(f.Context()))
	minutes := f.history(f.Tenant, time.Minute)
	equal(f, "points", len(minutes), 2)
	equal(f, "pending at first", minutes[0].Pending, 1)
	equal(f, "pending then", minutes[1].Pending, 2)
	if steps := f.history(f.Tenant, 24*time.Hour); steps[len(steps)-1].Pending != 2 {
		f.T.Fatalf("the largest of a day is %+v", steps)
	}

	f.Elapse(old)
	f.cleanup(100)
	now := f.Store.Now()
	kept, err := f.Store.QueueHistory(f.Context(), f.Tenant, posthorn.StatsFilter{Since: now.Add(-2 * old), Step: time.Minute})
	f.must(err)
	equal(f, "points after the cleanup", len(kept), 0)
}
