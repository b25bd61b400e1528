package bus

import (
	"sync"

	"github.com/posthorn/posthorn"
)

// maxWeight bounds what waits in a mailbox: about 6 MB of updates.
const maxWeight = 16 << 10

// weigh counts what a signal says; 0 is nothing at all.
func weigh(s *posthorn.Signal) int {
	n := len(s.Changed) + len(s.Lanes) + len(s.Updates)
	for _, said := range [...]bool{s.Wake, s.Replays, s.Recall, s.Keys, !s.Reread.IsZero(), !s.Drain.IsZero()} {
		if said {
			n++
		}
	}
	return n
}

// mailbox holds letters for one reader. Putting never waits: what does not fit is lost, and the reader is told.
type mailbox struct {
	ready chan struct{} // holds a token while there may be something to take

	mu      sync.Mutex
	letters []letter
	weight  int
}

// letter is a signal, or the news that some are missing at this place.
type letter struct {
	signal posthorn.Signal
	lost   bool
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (m *mailbox) put(s posthorn.Signal) {
	m.mu.Lock()
	if w := weigh(&s); m.weight > 0 && m.weight+w > maxWeight {
		m.noteLoss()
	} else {
		m.letters = append(m.letters, letter{signal: s})
		m.weight += w
	}
	m.mu.Unlock()
	m.wake()
}

// lose notes that signals may be missing here.
func (m *mailbox) lose() {
	m.mu.Lock()
	m.noteLoss()
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) noteLoss() {
	if n := len(m.letters); n == 0 || !m.letters[n-1].lost {
		m.letters = append(m.letters, letter{lost: true})
	}
}

// take empties the mailbox.
func (m *mailbox) take() []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	letters := m.letters
	m.letters, m.weight = nil, 0
	return letters
}

// wake lets the reader look.
func (m *mailbox) wake() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}
