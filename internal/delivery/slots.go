package delivery

// slots bounds the requests in flight on this node. Lanes that are trusted may use all of them; the others share half,
// so that hanging receivers by the thousand leave the other half to those that answer, and the second half of that share
// is for lanes with nothing in flight, so that a hundred hanging receivers leave it to the unknown. Where trusted lanes
// begin to hang all at once, their requests move to the shared half, which is then above its bound for as long as they hang.
type slots struct {
	all, trusted, suspect int
	// Lanes that wait for a slot, each once, served in turn.
	waitingTrusted, waitingSuspect []*lane
}

// left reports whether there is a slot for a lane; a busy one has requests in flight.
func (s *slots) left(trusted, busy bool) bool {
	switch {
	case trusted:
		return s.trusted+s.suspect < s.all || s.trusted < s.all/2
	case busy:
		return s.suspect < s.all/4
	}
	return s.suspect < s.all/2
}

// take takes a slot for a lane.
func (s *slots) take(trusted, busy bool) bool {
	if !s.left(trusted, busy) {
		return false
	}
	if trusted {
		s.trusted++
	} else {
		s.suspect++
	}
	return true
}

func (s *slots) free(trusted bool) {
	if trusted {
		s.trusted--
	} else {
		s.suspect--
	}
}

// distrust moves one request in flight to the shared half.
func (s *slots) distrust() {
	s.trusted--
	s.suspect++
}

// park notes that a lane waits for a slot. One with requests in flight does not need to: it looks again when one ends.
func (s *slots) park(l *lane) {
	if l.parked || l.inFlight > 0 {
		return
	}
	l.parked = true
	if l.trusted {
		s.waitingTrusted = append(s.waitingTrusted, l)
	} else {
		s.waitingSuspect = append(s.waitingSuspect, l)
	}
}

// next takes the lane that has waited longest among those a slot is free for.
func (s *slots) next() *lane {
	if len(s.waitingTrusted) > 0 && s.left(true, false) {
		return unpark(&s.waitingTrusted)
	}
	if len(s.waitingSuspect) > 0 && s.left(false, false) {
		return unpark(&s.waitingSuspect)
	}
	return nil
}

func unpark(waiting *[]*lane) *lane {
	l := (*waiting)[0]
	(*waiting)[0] = nil
	*waiting = (*waiting)[1:]
	l.parked = false
	return l
}

// unpark serves the lanes that wait for a slot, each in its turn.
func (e *Engine) unpark() {
	for {
		l := e.slots.next()
		if l == nil {
			return
		}
		e.dispatch(l)
	}
}
