package storetest

import (
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
)

// change makes changes of one lane in one batch, as the results of many attempts do, and wants them to have come in order. A
// breaker that they open is closed at the end.
func (m *model) change(t *rapid.T) {
	l := m.lanes[rapid.IntRange(0, len(m.lanes)-1).Draw(t, "lane")]
	var changes []posthorn.LaneChange
	failing, open, disables := l.failing, false, false
	add := func(c posthorn.LaneChange) {
		c.SubscriptionID, c.TenantID = l.id, m.f.Tenant
		changes = append(changes, c)
	}
	gone := false
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		switch rapid.SampledFrom([]string{"fail", "open", "recover", "failing", "gone"}).Draw(t, "change") {
		case "fail":
			failing = true
			add(posthorn.LaneChange{Failed: true})
		case "open":
			failing, open = true, true
			add(posthorn.LaneChange{Failed: true, OpenFor: time.Hour})
		case "recover":
			failing, open = false, false
			add(posthorn.LaneChange{Recovered: true})
		case "failing":
			disables = true
			add(posthorn.LaneChange{Disable: posthorn.DisabledFailing})
		case "gone":
			gone = true
			add(posthorn.LaneChange{Disable: posthorn.DisabledGone})
		}
	}
	if open {
		failing = false
		add(posthorn.LaneChange{Recovered: true})
	}
	report, err := m.f.Store.RecordAttempts(m.ctx, posthorn.RecordBatch{Node: m.f.Node, Lanes: changes})
	m.must(t, err)
	l.failing = failing
	l.held = l.held || gone || disables && failing
	if len(report.Lanes) != 1 {
		t.Fatalf("%d lanes told of the changes of one", len(report.Lanes))
	}
	m.checkLane(t, l, &report.Lanes[0])
}

func (m *model) checkLane(t *rapid.T, l *modelLane, is *posthorn.Lane) {
	if is.FailingSince.IsZero() == l.failing || is.HeldSince.IsZero() == l.held || is.BreakerOpens != 0 || !is.BreakerUntil.IsZero() {
		t.Fatalf("the store has %+v\nthe model has %+v", *is, *l)
	}
}
