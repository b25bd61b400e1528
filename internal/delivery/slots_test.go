package delivery

import "testing"

func TestSlotsHangingLanesTakeHalf(t *testing.T) {
	s := slots{all: 16}
	taken := 0
	for s.take(false, true) {
		taken++
	}
	want(t, "slots of busy lanes that are not trusted", taken, 4)
	for s.take(false, false) {
		taken++
	}
	want(t, "with those of lanes that had nothing in flight", taken, 8)
	for s.take(true, true) {
		taken++
	}
	want(t, "with those of trusted lanes", taken, 16)
}

func TestSlotsTrustedLanesTakeAll(t *testing.T) {
	s := slots{all: 16}
	for s.take(true, true) {
	}
	want(t, "trusted", s.trusted, 16)
	want(t, "a slot of the other half", s.take(false, false), true)
	s.free(false)
	// All of them begin to hang: their requests move over, and half of the node is free again for lanes that answer.
	for range 16 {
		s.distrust()
	}
	want(t, "none for another that hangs", s.take(false, false), false)
	for s.take(true, true) {
	}
	want(t, "for those that answer", s.trusted, 8)
	for range 8 {
		s.free(true)
	}
	for range 16 {
		s.free(false)
	}
	want(t, "in flight at the end", s.trusted+s.suspect, 0)
}

func TestSlotsServeInTurn(t *testing.T) {
	s := slots{all: 4}
	first, second := &lane{}, &lane{}
	for s.take(false, false) {
	}
	s.park(first)
	s.park(second)
	s.park(first)
	if s.next() != nil {
		t.Fatal("a lane was served without a slot")
	}
	s.free(false)
	want(t, "first", s.next(), first)
	s.take(false, false)
	s.park(first)
	s.free(false)
	want(t, "then the one that has waited longer", s.next(), second)
	want(t, "then the first again", s.next(), first)
	if s.next() != nil {
		t.Error("a lane was served twice")
	}
}

func TestSlotsDoNotParkBusyLanes(t *testing.T) {
	s := slots{all: 0}
	s.park(&lane{inFlight: 1})
	want(t, "waiting", len(s.waitingSuspect), 0)
}
