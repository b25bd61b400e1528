// Package ride lets writes that nobody waits for share the commit of one that somebody does: what a commit costs is mostly the
// disk's answer, and hardly what is in it. It owns the waiting; how writes become one transaction is a store's own.
package ride

import (
	"slices"
	"sync"
	"time"
)

const (
	// patience is how long a write waits to be taken along, a few commits of a slow disk, and only while one that takes along
	// came by within busy: else none may come.
	patience = 10 * time.Millisecond
	busy     = 20 * time.Millisecond
	// crowd is from how many on a commit counts as one of many: below, a commit with others in it would be felt.
	crowd = 8
)

// Queue holds the writes that wait. The zero Queue is empty.
type Queue[W any] struct {
	mu      sync.Mutex
	waiting []*Rider[W]
	passed  time.Time
}

// Rider is one write that waits. Whoever boards it answers it, once.
type Rider[W any] struct {
	Write  W
	answer chan error
}

// New makes a rider that waits nowhere yet.
func New[W any](write W) *Rider[W] { return &Rider[W]{write, make(chan error, 1)} }

// Answer tells how the write ended; nil means that it is committed.
func (r *Rider[W]) Answer(err error) { r.answer <- err }

// Answered gives the answer.
func (r *Rider[W]) Answered() <-chan error { return r.answer }

// Join queues a rider and waits a moment where it may be taken along. True comes with its answer; else it goes on waiting.
func (q *Queue[W]) Join(r *Rider[W]) (answered bool, err error) {
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	wait := time.Since(q.passed) < busy
	q.mu.Unlock()
	if !wait {
		return false, nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-r.answer:
		return true, err
	case <-timer.C:
		return false, nil
	}
}

// Board gives all that wait.
func (q *Queue[W]) Board() []*Rider[W] {
	q.mu.Lock()
	defer q.mu.Unlock()
	boarded := q.waiting
	q.waiting = nil
	return boarded
}

// Pass says that a write of so many rows came by that takes others along.
func (q *Queue[W]) Pass(rows int) {
	if rows < crowd {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.passed = time.Now()
}

// Leave takes a rider back; false when it was boarded and will be answered.
func (q *Queue[W]) Leave(r *Rider[W]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, r)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}
