package ride

import (
	"errors"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/bubble"
)

func TestNobodyComesBy(t *testing.T) {
	var q Queue[int]
	q.Pass(crowd - 1)
	r := New(1)
	if answered, _ := q.Join(r); answered {
		t.Error("answered though nobody came by")
	}
	if !q.Leave(r) || q.Leave(r) {
		t.Error("what waits can leave, once")
	}
	if boarded := q.Board(); len(boarded) != 0 {
		t.Errorf("%d board after they left", len(boarded))
	}
}

func TestTakenAlong(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var q Queue[int]
		q.Pass(crowd)
		failed := errors.New("no")
		go func() {
			time.Sleep(patience / 2)
			for i, r := range q.Board() {
				if r.Write != i {
					t.Errorf("%d boards at place %d", r.Write, i)
				}
				r.Answer(failed)
			}
		}()
		answered, err := q.Join(New(0))
		if !answered || !errors.Is(err, failed) {
			t.Errorf("answered %v, %v", answered, err)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var q Queue[int]
		q.Pass(crowd)
		start, r := time.Now(), New(1)
		if answered, _ := q.Join(r); answered || time.Since(start) != patience {
			t.Errorf("answered %v after %s", answered, time.Since(start))
		}
		boarded := q.Board()
		if len(boarded) != 1 || q.Leave(r) {
			t.Errorf("%d board; what has boarded cannot leave", len(boarded))
		}
		// It was long ago that somebody came by.
		time.Sleep(busy)
		start = time.Now()
		if answered, _ := q.Join(New(2)); answered || time.Since(start) != 0 {
			t.Errorf("answered %v after %s", answered, time.Since(start))
		}
	})
}
