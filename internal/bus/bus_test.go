package bus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func node(n byte) posthorn.NodeID { return posthorn.NodeID{UUID: posthorn.UUID{15: n}} }

func tenant(n byte) posthorn.TenantID { return posthorn.TenantID{UUID: posthorn.UUID{15: n}} }

func changed(version int64) posthorn.Signal {
	return posthorn.Signal{Changed: []posthorn.Change{{TenantID: tenant(1), Version: version}}}
}

func updates(n int) posthorn.Signal {
	list := make([]posthorn.Update, n)
	for i := range list {
		list[i] = posthorn.Update{
			At: time.Unix(int64(i), 0).UTC(), TenantID: tenant(1), EventType: "invoice.paid", State: posthorn.Pending, Attempts: i,
		}
	}
	return posthorn.Signal{Updates: list}
}

func TestEverySubscriberGetsEverySignalInOrder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(Options{Node: node(1)})
		defer b.Close()
		var first, second []posthorn.Signal
		b.Subscribe(func(s posthorn.Signal) { first = append(first, s) })
		b.Subscribe(func(s posthorn.Signal) { second = append(second, s) })
		b.Publish(t.Context(), posthorn.Signal{Wake: true})
		b.Publish(t.Context(), changed(2))
		b.Publish(t.Context(), posthorn.Signal{}) // says nothing
		b.Publish(t.Context(), posthorn.Signal{From: node(7), Keys: true})
		synctest.Wait()
		withSender := changed(2)
		withSender.From = node(1)
		want := []posthorn.Signal{{From: node(1), Wake: true}, withSender, {From: node(7), Keys: true}}
		for _, got := range [][]posthorn.Signal{first, second} {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestSlowSubscriberDelaysNobodyAndLearnsOfItsLoss(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		var slow, quick []int64
		lost := 0
		gate := make(chan struct{})
		b.Follow(func(s posthorn.Signal) {
			<-gate
			slow = append(slow, s.Changed[0].Version)
		}, func() {
			lost++
			slow = append(slow, -1)
		})
		b.Follow(func(s posthorn.Signal) { quick = append(quick, s.Changed[0].Version) }, func() { t.Error("the quick one lost") })
		b.Publish(t.Context(), changed(0))
		synctest.Wait() // the slow one now holds the first
		const more = maxWeight + 10
		for v := range int64(more) {
			b.Publish(t.Context(), changed(v+1))
			synctest.Wait()
		}
		if len(quick) != more+1 {
			t.Errorf("the quick one got %d signals", len(quick))
		}
		close(gate)
		synctest.Wait()
		b.Publish(t.Context(), changed(-2))
		synctest.Wait()
		if lost != 1 || len(slow) != maxWeight+3 || slow[maxWeight] != maxWeight || slow[maxWeight+1] != -1 || slow[maxWeight+2] != -2 {
			t.Errorf("the slow one lost %d times and got %d signals, ending %v", lost, len(slow), slow[len(slow)-3:])
		}
	})
}

func TestOneSignalIsTakenHoweverLarge(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		defer b.Watch()()
		got := 0
		b.Subscribe(func(s posthorn.Signal) { got += len(s.Updates) })
		b.Publish(t.Context(), updates(2*maxWeight))
		synctest.Wait()
		if got != 2*maxWeight {
			t.Errorf("got %d updates", got)
		}
	})
}

func TestCancelEndsASubscription(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(Options{})
		calls := 0
		var cancel func()
		cancel = b.Subscribe(func(posthorn.Signal) {
			calls++
			cancel()
		})
		b.Publish(t.Context(), posthorn.Signal{Wake: true})
		b.Publish(t.Context(), posthorn.Signal{Wake: true})
		synctest.Wait()
		cancel()
		b.Close()
		b.Close()
		b.Publish(t.Context(), posthorn.Signal{Wake: true})
		b.Subscribe(func(posthorn.Signal) { calls++ })()
		synctest.Wait()
		if calls != 1 {
			t.Errorf("called %d times", calls)
		}
	})
}

func TestUpdatesTravelOnlyWhileSomebodyWatches(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		var got []posthorn.Signal
		b.Subscribe(func(s posthorn.Signal) { got = append(got, s) })
		publish := func(want int) {
			t.Helper()
			got = nil
			s := updates(1)
			s.Wake = true
			b.Publish(t.Context(), s)
			b.Publish(t.Context(), updates(1))
			synctest.Wait()
			n := 0
			for _, s := range got {
				n += len(s.Updates)
			}
			if n != want || b.Watched() != (want > 0) || len(got) == 0 || !got[0].Wake {
				t.Errorf("%d updates in %d signals, watched %v; want %d", n, len(got), b.Watched(), want)
			}
		}
		publish(0)
		one, two := b.Watch(), b.Watch()
		publish(2)
		one()
		one() // a second stop changes nothing
		publish(2)
		two()
		publish(0)
	})
}

func TestHintsExpire(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(Options{})
		defer b.Close()
		b.others.hint("a", true)
		time.Sleep(hintEvery)
		b.others.hint("b", true)
		if !b.Watched() {
			t.Error("hints are not believed")
		}
		b.others.hint("b", false)
		if !b.Watched() {
			t.Error("a still watches")
		}
		time.Sleep(hintFor - hintEvery)
		if b.Watched() {
			t.Error("the hint of a has expired")
		}
	})
}

func TestLongLettersAreSplitAndShortOnesJoined(t *testing.T) {
	long := updates(2*maxMessage + 1)
	long.From, long.Wake, long.Keys = node(1), true, true
	long.Changed = changed(1).Changed
	long.Lanes = make([]posthorn.Lane, maxMessage+1)
	var messages []message
	for _, l := range []letter{
		{signal: posthorn.Signal{From: node(1), Wake: true}},
		{signal: posthorn.Signal{From: node(1), Wake: true, Changed: changed(1).Changed}},
		{lost: true},
		{signal: long},
		{signal: posthorn.Signal{From: node(1), Drain: node(2)}},
		{signal: posthorn.Signal{From: node(1), Drain: node(3)}},
		{signal: posthorn.Signal{From: node(4), Wake: true}},
		{signal: posthorn.Signal{From: node(4), Reread: posthorn.TenantID{UUID: node(5).UUID}}},
		{signal: posthorn.Signal{From: node(4), Reread: posthorn.TenantID{UUID: node(6).UUID}}},
	} {
		messages = appendLetter(messages, l)
	}
	type row struct {
		From                    posthorn.NodeID
		Lost, Wake              bool
		Changed, Lanes, Updates int
		Drain                   posthorn.NodeID
		Reread                  posthorn.TenantID
	}
	var got []row
	for _, m := range messages {
		if m.Signal == nil {
			got = append(got, row{Lost: m.Lost})
			continue
		}
		s := m.Signal
		got = append(got, row{
			From: s.From, Wake: s.Wake, Changed: len(s.Changed), Lanes: len(s.Lanes), Updates: len(s.Updates), Drain: s.Drain, Reread: s.Reread,
		})
	}
	want := []row{
		{From: node(1), Wake: true, Changed: 1},
		{Lost: true},
		{From: node(1), Wake: true},
		{From: node(1), Changed: 1},
		{From: node(1), Lanes: maxMessage},
		{From: node(1), Lanes: 1},
		{From: node(1), Updates: maxMessage},
		{From: node(1), Updates: maxMessage},
		{From: node(1), Updates: 1},
		{From: node(1), Drain: node(2)},
		{From: node(1), Drain: node(3)},
		{From: node(4), Wake: true, Reread: posthorn.TenantID{UUID: node(5).UUID}},
		{From: node(4), Reread: posthorn.TenantID{UUID: node(6).UUID}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkPublishNobodyWatching(b *testing.B) {
	bus := New(Options{})
	defer bus.Close()
	bus.Subscribe(func(posthorn.Signal) {})
	s := updates(1)
	b.ReportAllocs()
	for b.Loop() {
		bus.Publish(b.Context(), s)
	}
}
