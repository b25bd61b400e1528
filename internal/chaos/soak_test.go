//go:build unix

package chaos_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// soakRate is about half of what a small machine delivers of such events.
const soakRate = 300

// TestSoak runs a node at half load for -chaos.minutes with a fault every minute, and wants what it holds to stay flat: what
// it needs in its first quarter it must not need more of in its last. The process that is measured is not the one that is hurt.
func TestSoak(t *testing.T) {
	if *minutes == 0 {
		return // `make soak`
	}
	for _, store := range []string{sqliteStore, postgresStore} {
		t.Run(store, func(t *testing.T) { soak(t, store) })
	}
}

func soak(t *testing.T, store string) {
	lasts := time.Duration(*minutes * float64(time.Minute))
	w := newWorld(t, store, 16)
	w.producer.counting, w.receiver.counting = true, true
	n := w.site.start("").await()
	var other *site
	if store == postgresStore {
		other = newSite(t, w.site.env...)
	}
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		w.producer.at(soakRate, lasts)
	}()
	m := &meter{}
	began := time.Now()
	faults, every := 0, min(time.Minute, lasts/5)
	for fault := began.Add(every); time.Since(began) < lasts; after(min(5*time.Second, lasts/60)) {
		m.measure(w, n, time.Since(began))
		if time.Now().After(fault) {
			fault = fault.Add(every)
			w.soakFault(n, other, faults)
			faults++
		}
	}
	<-loading
	if !w.drain(2 * time.Minute) {
		t.Errorf("%d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
	}
	m.measure(w, n, time.Since(began))
	n.Signal(syscall.SIGTERM)
	if err := n.Wait(stopWithin + time.Second); err != nil {
		t.Errorf("SIGTERM ended the node with %v", err)
	}
	requests, repeated := w.receiver.totals()
	list := []figure{
		number("faults", "", faults, true),
		number("requests", "", requests, true),
		number("delivered twice", "", repeated, true),
	}
	for _, one := range []struct {
		what string
		of   func(sample) float64
		unit float64
		// room is how much more than at first there may be.
		room float64
	}{
		{"memory in MiB", func(s sample) float64 { return s.memory }, 1 << 20, 64},
		{"goroutines", func(s sample) float64 { return s.goroutines }, 1, 100},
		{"open files", func(s sample) float64 { return s.files }, 1, 100},
		{"connections", func(s sample) float64 { return s.connections }, 1, 100},
	} {
		first, last, slope := m.slope(one.of)
		kept := last-first <= one.room*one.unit
		list = append(list, figure{
			What: one.what + ": after a quarter, at the end, slope an hour", Goal: "flat", Kept: kept,
			Value: fmt.Sprintf("%.0f, %.0f, %+.1f", first/one.unit, last/one.unit, slope/one.unit),
		})
		if !kept {
			t.Errorf("%s went from %.0f to %.0f", one.what, first/one.unit, last/one.unit)
		}
	}
	_, disk, _ := m.slope(func(s sample) float64 { return s.disk })
	list = append(list, figure{What: "disk in MiB, for each 1,000 requests", Value: fmt.Sprintf("%.1f, %.2f", disk/(1<<20), disk/(1<<20)/float64(max(requests, 1))*1000), Kept: true})
	figures.add(scenario{Name: "soak", Store: store, Seed: *seed, Length: fmt.Sprintf("%s at %d events/s, a fault every %s", lasts, soakRate, every), Figures: list})
}

// soakFault is the fault of a minute; each spares the measured process.
func (w *world) soakFault(n *node, other *site, turn int) {
	w.t.Helper()
	switch turn % 4 {
	case 0: // a freeze, shorter than a lease
		n.Signal(syscall.SIGSTOP)
		after(2 * time.Second)
		n.Signal(syscall.SIGCONT)
	case 1: // another node comes, works and is killed
		if other == nil {
			w.flap("plain")
			return
		}
		hurt := other.start("").await()
		after(3 * time.Second)
		hurt.Kill()
		hurt.Quiet = true
	case 2: // Redis is empty and away
		if w.redis == nil {
			w.flap("flaky")
			return
		}
		w.redis.Stop()
		after(3 * time.Second)
		w.redis.Start()
	default: // receivers close all their connections
		w.receiver.server.CloseClientConnections()
	}
}

// flap lets a receiver fail for a while, and then recover.
func (w *world) flap(name string) {
	w.receiver.mu.Lock()
	l := w.lanes[name]
	l.down.Store(true)
	w.receiver.mu.Unlock()
	after(2 * time.Second)
	l.down.Store(false)
}

// measure takes one sample of the node.
func (m *meter) measure(w *world, n *node, at time.Duration) {
	files, sockets := filesOf(n.PID())
	s := sample{
		at: at, memory: float64(residentOf(n.PID())), files: float64(files), connections: float64(sockets), goroutines: w.goroutines(),
		disk: w.disk(),
	}
	if s.goroutines == 0 {
		return // frozen or away for the moment
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.points = append(m.points, s)
}

// goroutines is what the node's own metrics say.
func (w *world) goroutines() float64 {
	resp, err := w.producer.client.Get(w.site.url() + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// disk is the size of the embedded store's files.
func (w *world) disk() (size float64) {
	if w.store != sqliteStore {
		return 0
	}
	_ = filepath.Walk(w.settings.DataDir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			size += float64(info.Size())
		}
		return nil
	})
	return size
}
