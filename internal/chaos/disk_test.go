//go:build unix

package chaos_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/seal"
)

// TestDiskFull fills the disk under an embedded store, more than once: a small file system of its own, where the test may mount one.
// Producers are told 503, what was acknowledged is there, and it goes on by itself when there
// is room again.
func TestDiskFull(t *testing.T) {
	gently(t)
	w := &world{t: t, store: sqliteStore, receiver: newReceiver(t)}
	w.settings = config.Settings{DataDir: filepath.Join(t.TempDir(), "data"), EncryptionKeys: seal.Generate()}
	ballast, how := smallDisk(t, w.settings.DataDir)
	w.settings.DatabaseURL = "sqlite://" + filepath.Join(w.settings.DataDir, "posthorn.db")
	w.begin(8, w.settings.DatabaseURL)
	w.producer.retry = 50 * time.Millisecond
	n := w.site.start("").await()
	start := w.mark()
	began := time.Now()
	times := 1
	if *long {
		times = 5
	}
	full, refused, slowest, accepted := 0, 0, time.Duration(0), 0
	for range times {
		fill(t, ballast)
		w.producer.more(400)
		// What fits into the files that are there is still taken: the disk is full once a publish was refused.
		if !eventually(10*time.Second, func() bool { _, r := w.producer.between(began, time.Now()); return len(answeredOf(r)) > refused }) {
			t.Error("the disk was not filled")
			break
		}
		full++
		began := time.Now()
		after(time.Second)
		_, told := w.producer.between(began, time.Now())
		slowest = max(slowest, p99(answeredOf(told)))
		_, all := w.producer.between(start.at, time.Now())
		refused = len(answeredOf(all))
		accepted += impossible(w, n)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if !w.drain(30 * time.Second) {
			t.Errorf("with room again, %d events are not acknowledged and %d deliveries pending", w.producer.waiting.Load(), w.pending())
		}
	}
	n.stop()
	v := w.judge(w.facts(start))
	figures.add(t, scenario{
		Name: "disk full", Store: sqliteStore, Seed: *seed, Length: fmt.Sprintf("%d times, %s", full, how),
		Figures: []figure{
			number("events acknowledged", "", v.events, true),
			number("answers of 503", "", refused, refused > 0),
			length("time to a 503, 99th percentile", "1 s", slowest, slowest <= refusedWithin),
			number("2xx for what did not fit", "0", accepted, accepted == 0),
			number("acknowledged events lost", "0", v.lost, v.lost == 0),
			number("other rules of the ledger broken", "0", len(v.violations)-v.lost, len(v.violations) == v.lost),
			number("delivered twice, of interrupted attempts", "at most those", v.repeated, v.unexplained == 0).and("%d", v.interrupted),
		},
	})
}

// impossible publishes what cannot fit on a full disk, and counts what was taken all the same.
func impossible(w *world, n *node) (accepted int) {
	body := fmt.Appendf(nil, `{"type":"chaos.nobody","payload":"%0200000d"}`, 0)
	for range 3 {
		status, _, _, err := w.producer.post(n.site.url()+"/events", body)
		if err == nil && status/100 == 2 {
			accepted++
		}
		if err == nil && status != http.StatusServiceUnavailable {
			w.t.Errorf("on a full disk an event of 200 KB was answered %d", status)
		}
	}
	return accepted
}

// smallDisk gives a directory of a few megabytes, and a file to fill it with.
func smallDisk(t testing.TB, directory string) (ballast, how string) {
	t.Helper()
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "posthorn-chaos", directory).CombinedOutput(); err != nil {
		// In a container or as an ordinary user there is no mounting: a directory of /dev/shm would fill the machine's memory.
		t.Skipf("no file system of its own: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", directory).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return filepath.Join(directory, "ballast"), "tmpfs of 24 MiB"
}

// fill writes until the disk is full.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096} {
		for block := make([]byte, size); ; {
			if _, err := f.Write(block); err != nil {
				break
			}
		}
	}
}

// eventually waits for a condition.
func eventually(within time.Duration, condition func() bool) bool {
	for end := time.Now().Add(within); time.Now().Before(end); after(5 * time.Millisecond) {
		if condition() {
			return true
		}
	}
	return false
}
