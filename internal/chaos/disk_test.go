//go:build unix

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/seal"
)

// TestDiskFull fills the disk under a store again and again: a small file system of its own, where the test may mount one.
// Producers are told 503, what was acknowledged is there, and it goes on by itself when there is room again.
func TestDiskFull(t *testing.T) {
	t.Run(sqliteStore, diskFullUnderSQLite)
	t.Run(postgresStore, diskFullUnderPostgres)
}

func diskFullUnderSQLite(t *testing.T) {
	gently(t)
	w := &world{t: t, store: sqliteStore, receiver: newReceiver(t)}
	w.settings = config.Settings{DataDir: filepath.Join(t.TempDir(), "data"), EncryptionKeys: seal.Generate()}
	f := &fullDisk{world: w, disk: mountSmallDisk(t, w.settings.DataDir, 24), dice: dice(*seed)}
	w.settings.DatabaseURL = "sqlite://" + filepath.Join(w.settings.DataDir, "posthorn.db")
	w.begin(8, w.settings.DatabaseURL)
	f.start(w.site)
	times := 1
	if *long {
		times = 5
	}
	for range times {
		f.suffer(filling{time.Second, 0, nothing, nothing, nothing})
	}
	f.conclude(fmt.Sprintf("%d times", times))
}

// filling is one way to meet a full disk.
type filling struct {
	lasts time.Duration
	// spare is what it leaves free, in bytes.
	spare int
	// before comes while there is room, once when there is none, and back when there is some again.
	before, once, back func()
}

func nothing() {}

// fullDisk is a world whose store lies on a small disk, with what was seen while that was full.
type fullDisk struct {
	*world
	disk  *smallDisk
	dice  *rand.Rand
	nodes []*node
	from  mark
	// refused counts the answers of 503 while it was full, taken the events that cannot have fitted.
	refused, taken int
	// slowest is the 99th percentile of the times to a 503, resumed the wait for a delivery once there was room: the worst of all
	// fillings.
	slowest, resumed time.Duration
}

// start starts a node at each of the sites.
func (f *fullDisk) start(sites ...*site) {
	f.world.t.Helper()
	f.producer.retry = 50 * time.Millisecond
	for _, s := range sites {
		f.nodes = append(f.nodes, s.start("").await())
	}
	f.from = f.mark()
}

// suffer fills the disk under load and gives the room back.
func (f *fullDisk) suffer(one filling) {
	t := f.world.t
	t.Helper()
	loading := make(chan struct{})
	go func() {
		defer close(loading)
		f.producer.at(100, 2*time.Second+one.lasts)
	}()
	after(300*time.Millisecond + time.Duration(f.dice.IntN(500))*time.Millisecond)
	one.before()
	filled := time.Now()
	empty := f.disk.fill(t, one.spare)
	one.once()
	// What fits into the files that are there is still taken: the disk is full once a publish was refused.
	if !eventually(10*time.Second, func() bool { return len(f.toldSince(filled)) > 0 }) {
		t.Error("the disk was not filled")
	}
	after(one.lasts)
	f.taken += impossible(f.world)
	told := f.toldSince(filled)
	f.refused += len(told)
	f.slowest = max(f.slowest, p99(told))
	empty()
	one.back()
	back := time.Now()
	<-loading
	if !f.drain(time.Minute) {
		t.Errorf("with room again, %d events are not acknowledged and %d deliveries pending", f.producer.waiting.Load(), f.pending())
	}
	first := f.receiver.firstAfter(back)
	if first.IsZero() {
		t.Error("with room again, nothing was delivered")
	}
	f.resumed = max(f.resumed, first.Sub(back))
}

// toldSince are the answers to publishes that were refused since a time.
func (f *fullDisk) toldSince(at time.Time) []refusal {
	_, told := f.producer.between(at, time.Now())
	return answeredOf(told)
}

// conclude stops the nodes and lets the ledger decide.
func (f *fullDisk) conclude(how string, further ...figure) {
	f.world.t.Helper()
	for _, n := range f.nodes {
		n.stop()
	}
	v := f.judge(f.facts(f.from))
	list := []figure{
		number("events acknowledged", "", v.events, true),
		number("answers of 503", "some", f.refused, f.refused > 0),
		prompt("time to a 503, 99th percentile", refusedWithin, f.slowest),
		number("2xx for what did not fit", "0", f.taken, f.taken == 0),
		number("acknowledged events lost", "0", v.lost, v.lost == 0),
		number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
		number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		length("first delivery after there was room", "10 s", f.resumed, f.resumed <= resumedWithin),
	}
	figures.add(f.world.t, scenario{
		Name: "disk full", Store: f.store, Seed: *seed, Length: how + ", " + f.disk.String(), Figures: append(list, further...),
	})
}
