package postgres

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/posthorn/posthorn"
)

// uuid is an id as PostgreSQL has it: the absent id is NULL. It is used by conversion, also of pointers:
// (*uuid)(&d.Claim.UUID).
type uuid posthorn.UUID

// UUIDValue implements pgtype.UUIDValuer.
func (u uuid) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: u, Valid: u != uuid{}}, nil
}

// ScanUUID implements pgtype.UUIDScanner.
func (u *uuid) ScanUUID(v pgtype.UUID) error {
	*u = v.Bytes
	return nil
}

// moment is a time as PostgreSQL has it: the zero time is NULL, and what is read is in UTC.
type moment time.Time

// TimestamptzValue implements pgtype.TimestamptzValuer.
func (m moment) TimestamptzValue() (pgtype.Timestamptz, error) {
	t := time.Time(m)
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}, nil
}

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (m *moment) ScanTimestamptz(v pgtype.Timestamptz) error {
	*m = moment{}
	if v.Valid {
		*m = moment(v.Time.UTC())
	}
	return nil
}

// span is a duration read from a nullable interval: NULL is zero.
type span time.Duration

// ScanInterval implements pgtype.IntervalScanner.
func (s *span) ScanInterval(v pgtype.Interval) error {
	*s = span(time.Duration(v.Microseconds)*time.Microsecond + time.Duration(v.Days)*24*time.Hour)
	if v.Months != 0 {
		return fmt.Errorf("interval of %d months", v.Months)
	}
	return nil
}

// document is a value kept as JSON text; nil maps and pointers are NULL and leave the destination alone.
func document(v any) *string {
	text, err := json.Marshal(v)
	if err != nil || string(text) == "null" {
		// Only strings, numbers, maps and times are kept so; they always marshal.
		return nil
	}
	s := string(text)
	return &s
}

// fromDocument reads what document wrote.
func fromDocument[T any](text *string, into *T) error {
	if text == nil {
		return nil
	}
	return json.Unmarshal([]byte(*text), into)
}

// plain makes a text from outside storable: PostgreSQL's has valid UTF-8 and no NUL.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// micros is a duration in PostgreSQL's resolution.
func micros(d time.Duration) int64 { return d.Microseconds() }
