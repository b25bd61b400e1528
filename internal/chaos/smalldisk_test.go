//go:build unix

package chaos_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// smallDisk is a file system of a few megabytes.
type smallDisk struct {
	directory string
	megabytes int
}

func (d *smallDisk) String() string { return fmt.Sprintf("tmpfs of %d MiB", d.megabytes) }

// mountSmallDisk mounts one at a directory, until the test ends.
func mountSmallDisk(t testing.TB, directory string, megabytes int) *smallDisk {
	t.Helper()
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	size := fmt.Sprintf("size=%dm", megabytes)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", size, "posthorn-chaos", directory).CombinedOutput(); err != nil {
		// In a container or as an ordinary user there is no mounting: a directory of /dev/shm would fill the machine's memory.
		t.Skipf("no file system of its own: %v %s", err, out)
	}
	t.Cleanup(func() {
		var out []byte
		var err error
		// A server that was killed leaves children for a moment.
		if !eventually(5*time.Second, func() bool { out, err = exec.Command("umount", directory).CombinedOutput(); return err == nil }) {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return &smallDisk{directory, megabytes}
}

// fill leaves no more than so many bytes free, also when something gives room, until it is to be emptied.
func (d *smallDisk) fill(t testing.TB, spare int) (empty func()) {
	t.Helper()
	ballast, err := os.Create(filepath.Join(d.directory, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	d.press(ballast, spare)
	stop := make(chan struct{})
	var pressing sync.WaitGroup
	pressing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				d.press(ballast, spare)
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		pressing.Wait()
		_ = ballast.Close()
		if err := os.Remove(ballast.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// press writes while more is free than may be.
func (d *smallDisk) press(ballast *os.File, spare int) {
	block := make([]byte, 1<<20)
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(d.directory, &s); err != nil {
			return
		}
		over := int(s.Bavail)*int(s.Bsize) - spare
		if over <= 0 {
			return
		}
		if _, err := ballast.Write(block[:min(over, len(block))]); err != nil {
			return
		}
	}
}

// impossible publishes what cannot fit on a full disk, and counts what was taken all the same.
func impossible(w *world) (taken int) {
	noise := make([]byte, 150_000) // PostgreSQL would store zeros compressed
	_, _ = rand.Read(noise)
	body := fmt.Appendf(nil, `{"type":"chaos.nobody","payload":%q}`, base64.StdEncoding.EncodeToString(noise))
	for n := range 3 {
		status, _, _, err := w.producer.post(w.producer.url(n)+"/events", body)
		if err == nil && status/100 == 2 {
			taken++
		}
		if err == nil && status != http.StatusServiceUnavailable {
			w.t.Errorf("on a full disk an event of 200 KB was answered %d", status)
		}
	}
	return taken
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
