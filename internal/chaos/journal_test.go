//go:build unix

package chaos_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// journal is a file of JSON lines that outlives whoever writes it: note returns when its line is on disk. Lines that come
// while the disk is busy share the next sync.
type journal struct {
	mu    sync.Mutex
	file  *os.File
	lines []byte
	err   error
	// synced is closed when the lines waiting now are on disk.
	synced chan struct{}
	wake   chan struct{}
	done   chan struct{}
}

func newJournal(t testing.TB, name string) *journal {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{file: f, synced: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{})}
	go j.run()
	t.Cleanup(func() {
		close(j.wake)
		<-j.done
		if j.err != nil {
			t.Errorf("%s: %v", name, j.err)
		}
	})
	return j
}

func (j *journal) note(entry any) {
	line, err := json.Marshal(entry)
	if err != nil {
		panic(err) // an entry is a struct of this package
	}
	j.mu.Lock()
	j.lines = append(append(j.lines, line...), '\n')
	synced := j.synced
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	<-synced
}

func (j *journal) run() {
	defer close(j.done)
	for range j.wake {
		j.mu.Lock()
		lines, synced := j.lines, j.synced
		j.lines, j.synced = nil, make(chan struct{})
		j.mu.Unlock()
		_, err := j.file.Write(lines)
		if err == nil {
			err = j.file.Sync()
		}
		if err != nil && j.err == nil {
			j.err = err
		}
		close(synced)
	}
	if err := j.file.Close(); j.err == nil {
		j.err = err
	}
}
