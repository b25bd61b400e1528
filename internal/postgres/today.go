package postgres

import (
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// Nearly all that is written goes to today's partitions. Through the partitioned table PostgreSQL looks for the partition of each row,
// and to look rows up it makes ready for every day before it has seen an id, which costs a lone result 10 µs a day: so these
// statements name the partitions of today, where all ids are of today.

// statements are those that every event costs.
type statements struct {
	// day is whose partitions they name; zero for none.
	day                                       time.Time
	acceptWhole, acceptEvents, recordAttempts string
}

var ofAnyDay = statements{acceptWhole: acceptWhole, acceptEvents: acceptEvents, recordAttempts: recordAttempts}

// naming makes those that name a day's partitions.
func naming(d time.Time) *statements {
	var names []string
	for _, table := range partitioned {
		name := partition{table: table, suffix: d.Format(dayFormat)}.name()
		names = append(names, "INTO "+table+" (", "INTO "+name+" (", "UPDATE "+table+" ", "UPDATE "+name+" ")
	}
	replacer := strings.NewReplacer(names...)
	return &statements{
		day: d, acceptWhole: replacer.Replace(acceptWhole), acceptEvents: replacer.Replace(acceptEvents), recordAttempts: replacer.Replace(recordAttempts),
	}
}

// statementsFor writes rows whose ids were made in a period.
func (s *Store) statementsFor(made period) *statements {
	today := dayOf(s.Now())
	if !s.daysNamed.Load() || made.from.Before(today) || !made.to.Before(today.Add(day)) {
		return &ofAnyDay
	}
	known := s.today.Load()
	if known == nil || !known.day.Equal(today) {
		known = naming(today)
		s.today.Store(known)
	}
	return known
}

// period is when the first and the last of some ids were made, to the millisecond; zero where there are none.
type period struct{ from, to time.Time }

func (p *period) add(id posthorn.UUID) {
	at := id.Time()
	if p.from.IsZero() || at.Before(p.from) {
		p.from = at
	}
	if at.After(p.to) {
		p.to = at
	}
}
