package client

// Seen remembers the last keys it was given, to drop what a stream or a list says again. It is not safe for concurrent use.
type Seen struct {
	ring  []string
	next  int
	known map[string]struct{}
}

// NewSeen remembers size keys.
func NewSeen(size int) *Seen {
	return &Seen{ring: make([]string, size), known: make(map[string]struct{}, size)}
}

// Add notes a key and reports whether it is new.
func (s *Seen) Add(key string) bool {
	if _, ok := s.known[key]; ok {
		return false
	}
	delete(s.known, s.ring[s.next])
	s.ring[s.next] = key
	s.next = (s.next + 1) % len(s.ring)
	s.known[key] = struct{}{}
	return true
}
