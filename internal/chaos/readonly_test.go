//go:build unix

package chaos_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestReadOnly lets an embedded store be read and not written, by a limit of its process under which no file may be written any
// more, as on a disk that the system has remounted read-only. Producers are told 503, nothing is acknowledged, and it goes on
// by itself when it may write again.
func TestReadOnly(t *testing.T) {
	gently(t)
	if runtime.GOOS != "linux" {
		t.Skip("prlimit is Linux's")
	}
	w := newWorld(t, sqliteStore, 8)
	w.producer.retry = 50 * time.Millisecond
	n := w.site.start("").await()
	start := w.mark()
	d := dice(*seed)
	times := 1
	if *long {
		times = 5
	}
	accepted, refused, slowest := 0, 0, time.Duration(0)
	for range times {
		loading := make(chan struct{})
		go func() {
			defer close(loading)
			w.producer.at(100, 3*time.Second)
		}()
		after(300*time.Millisecond + time.Duration(d.IntN(500))*time.Millisecond)
		w.mayWrite(n, "0")
		gone := time.Now()
		after(1500 * time.Millisecond)
		back := time.Now()
		w.mayWrite(n, "unlimited")
		<-loading
		if !w.drain(30 * time.Second) {
			t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
		}
		took, told := w.producer.between(gone.Add(grace), back)
		accepted += took
		refused += len(answeredOf(told))
		slowest = max(slowest, p99(answeredOf(told)))
	}
	n.stop()
	v := w.judge(w.facts(start))
	figures.add(t, scenario{Name: "read-only", Store: sqliteStore, Seed: *seed, Length: fmt.Sprintf("%d times for 1.5 s, 100 events/s", times), Figures: []figure{
		number("events acknowledged", "", v.events, true),
		number("acknowledged while it was read-only", "0", accepted, accepted == 0),
		number("answers of 503", "some", refused, refused > 0),
		prompt("time to a 503, 99th percentile", refusedWithin, slowest),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
	}})
}

// mayWrite says up to which size the node's process may write files from now on.
func (w *world) mayWrite(n *node, size string) {
	w.t.Helper()
	if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(n.PID()), "--fsize="+size+":unlimited").CombinedOutput(); err != nil {
		w.t.Fatalf("prlimit: %v %s", err, out)
	}
}
