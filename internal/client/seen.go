package client

import "time"

// Seen remembers the last keys it was given, to drop what a stream or a list says again. It is not safe for concurrent use.
type Seen struct {
	ring  []string
	next  int
	known map[string]time.Time
}

// NewSeen remembers size keys.
func NewSeen(size int) *Seen {
	return &Seen{ring: make([]string, size), known: make(map[string]time.Time, size)}
}

// Add notes a key and reports whether it is new.
func (s *Seen) Add(key string) bool { return s.Later(key, time.Time{}) }

// Later notes the time of a key and reports whether the key is new, or the time later than the one noted.
func (s *Seen) Later(key string, at time.Time) bool {
	last, ok := s.known[key]
	if ok && !at.After(last) {
		return false
	}
	if !ok {
		delete(s.known, s.ring[s.next])
		s.ring[s.next] = key
		s.next = (s.next + 1) % len(s.ring)
	}
	s.known[key] = at
	return true
}
