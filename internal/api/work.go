package api

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// work is the context of a request. Unlike net/http's it does not end when the client stops sending: that is all the server can
// see of one that has gone, and also of one that has said all and waits for the answer. It ends with its term.
type work struct {
	context.Context
	values context.Context
	call   *call
}

// Value finds the call, and then what the request's own context has.
func (w *work) Value(key any) any {
	if key == (callKey{}) {
		return w.call
	}
	// First, as the contexts below find by it that they end with the term, and need no goroutine to be told.
	if v := w.Context.Value(key); v != nil {
		return v
	}
	return w.values.Value(key)
}

const (
	// workTime is how long any request may be worked on, at least: the test of a subscription waits for up to a minute.
	workTime = 2 * time.Minute
	// termTime is how long requests share a term, which is what they may take longer.
	termTime = time.Minute
)

// terms end what takes too long. The requests of a minute share one: a timer for each would be a cost of every publish.
type terms struct {
	all context.Context
	// end ends the terms under way and to come.
	end context.CancelFunc
	now atomic.Pointer[term]
	mu  sync.Mutex
}

type term struct {
	context.Context
	until time.Time
}

func (t *terms) init() { t.all, t.end = context.WithCancel(context.Background()) }

// current is the term of a request that begins now.
func (t *terms) current(now time.Time) context.Context {
	if is := t.now.Load(); is != nil && now.Before(is.until) {
		return is.Context
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if is := t.now.Load(); is != nil && now.Before(is.until) {
		return is.Context
	}
	ctx, cancel := context.WithTimeout(t.all, termTime+workTime)
	context.AfterFunc(ctx, cancel)
	t.now.Store(&term{ctx, now.Add(termTime)})
	return ctx
}
