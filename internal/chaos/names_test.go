//go:build unix

package chaos_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/ledger"
)

// nameFault is a way in which looking up a receiver's name goes wrong, and what must come of it.
type nameFault struct {
	name, how, points string
	outcomes          []posthorn.Outcome
}

// everyNameFault comes right in the end. The address that a name is bound to anew is refused to subscribers, and reaches the
// very same receiver where a system is asked to connect to it.
var everyNameFault = []nameFault{
	{
		"names", "the resolver fails 5 times", "dns=answer(127.0.0.1);dns=error@1-5",
		[]posthorn.Outcome{posthorn.DNSError, posthorn.Timeout},
	},
	{
		"slow names", "the resolver takes 6 s for 10 answers", "dns=answer(127.0.0.1);dns=delay(6s)@1-10",
		[]posthorn.Outcome{posthorn.DNSError, posthorn.Timeout},
	},
	{
		"rebinding names", "from the 21st to the 60th answer a name is at 0.0.0.0",
		"dns=answer(127.0.0.1)@1-20;dns=answer(0.0.0.0)@21-60;dns=answer(127.0.0.1)@61-",
		[]posthorn.Outcome{posthorn.Blocked},
	},
}

// TestNames gives receivers a name, and makes looking it up fail, take long and give an address that is not allowed: nothing is the
// subscriber's fault, nothing reaches what is refused, and all arrives.
func TestNames(t *testing.T) {
	for _, one := range everyNameFault {
		t.Run(strings.ReplaceAll(one.name, " ", ""), func(t *testing.T) {
			bothStores(t, func(t *testing.T, store string) { names(t, store, one) })
		})
	}
}

func names(t *testing.T, store string, fault nameFault) {
	w := newWorld(t, store, 8)
	// A connection that is kept is a name that is not looked up.
	w.receiver.server.Config.SetKeepAlivesEnabled(false)
	first := w.site.start("").await()
	named := &lane{name: "named"}
	url := strings.Replace(w.receiver.url("named"), "127.0.0.1", "receiver.example.com", 1)
	w.add(named, map[string]any{
		"url": url, "event_types": []string{"chaos.named"}, "timeout_seconds": 10,
		"retry": map[string]any{"initial": 0.2, "multiplier": 1, "maximum": 1, "attempts": 40},
	})
	first.Kill()
	start := w.mark()
	w.producer.kinds = []kind{{"chaos.named", []*lane{named}, 0}}
	n := w.site.start(fault.points).await()
	began := time.Now()
	w.producer.more(100)
	if !w.drain(time.Minute) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
	}
	took := time.Since(began)
	n.Signal(syscall.SIGTERM)
	_ = n.Wait(stopWithin)
	f := w.facts(start)
	v := w.judge(f)
	failed, ours, arrived := fault.count(&f)
	blamed := 0
	for _, s := range f.Subscriptions {
		if s.ID == named.subscription && (s.Lane.BreakerOpens > 0 || !s.Lane.FailingSince.IsZero()) {
			blamed++
		}
	}
	figures.add(t, scenario{Name: fault.name, Store: store, Seed: *seed, Length: fault.how, Figures: []figure{
		number("attempts that failed for it, all of them our own fault", "", failed, failed > 0 && ours == failed).and("%d", ours),
		number("requests of them", "0", arrived, arrived == 0),
		length("all delivered after", "", took, true),
		number("subscriptions blamed", "0", blamed, blamed == 0),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
	}})
}

// count finds the attempts that failed and those of them that are our own fault, and the requests that were made for them all the
// same. Any other failure counts as one that is not ours.
func (n nameFault) count(f *ledger.Facts) (failed, ours, arrived int) {
	for i := range f.Attempts {
		a := &f.Attempts[i]
		if a.Outcome == posthorn.Succeeded {
			continue
		}
		failed++
		for _, outcome := range n.outcomes {
			if a.Outcome == outcome && a.OurFault {
				ours++
			}
		}
		for j := range f.Requests {
			if r := &f.Requests[j]; r.Event == a.EventID && r.Attempt == a.Number {
				arrived++
			}
		}
	}
	return failed, ours, arrived
}
