package posthorn

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// UUID is a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, 12 bits of the fraction of that millisecond, 62 random bits.
// Ids made later sort later, down to about a quarter of a microsecond.
type UUID [16]byte

// NewUUID makes a UUIDv7 for a moment of the store's clock. Nothing is remembered between calls: a process-wide
// high-water mark would be wrong under fake time and after a clock step.
func NewUUID(at time.Time) UUID {
	u := MinUUID(at)
	var tail [8]byte
	// crypto/rand never fails on the platforms Go supports: it ends the process instead.
	_, _ = rand.Read(tail[:])
	copy(u[8:], tail[:])
	u[8] = 0x80 | u[8]&0x3f
	return u
}

// MinUUID is the lowest UUIDv7 of a moment: the bound of a time range in id order.
func MinUUID(at time.Time) UUID {
	var u UUID
	ms := at.UnixMilli()
	if ms < 0 {
		ms = 0
	}
	fraction := uint16(at.Nanosecond() % int(time.Millisecond) * 4096 / int(time.Millisecond))
	binary.BigEndian.PutUint64(u[:8], uint64(ms)<<16|0x7000|uint64(fraction))
	u[8] = 0x80
	return u
}

// Time is the moment the id was made for, to the millisecond, in UTC.
func (u UUID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)).UTC()
}

// IsZero reports the absent id.
func (u UUID) IsZero() bool { return u == UUID{} }

// alphabet is Crockford's base 32 in lower case: its order is the order of the values, so encoded ids sort like their bytes.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// encodedLength is 128 bits in groups of five, rounded up.
const encodedLength = 26

// textLength is that of the longest id with its prefix, a node's.
const textLength = 5 + encodedLength

var errBadID = errors.New("not a valid id")

// appendText writes the 26 characters of the id: 130 bits, of which the first two are zero.
func (u UUID) appendText(b []byte) []byte {
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for shift := 125; shift >= 0; shift -= 5 {
		var v uint64
		switch {
		case shift >= 64:
			v = hi >> (shift - 64)
		case shift > 59:
			v = hi<<(64-shift) | lo>>shift
		default:
			v = lo >> shift
		}
		b = append(b, alphabet[v&31])
	}
	return b
}

// parseUUID reads exactly what appendText writes: one spelling per id, so that an id can be compared as text.
func parseUUID(s string) (UUID, error) {
	if len(s) != encodedLength || s[0] > '7' {
		return UUID{}, errBadID
	}
	var hi, lo uint64
	for i := range len(s) {
		v := digit(s[i])
		if v > 31 {
			return UUID{}, errBadID
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var u UUID
	binary.BigEndian.PutUint64(u[:8], hi)
	binary.BigEndian.PutUint64(u[8:], lo)
	return u, nil
}

func digit(c byte) byte {
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return byte(i)
		}
	}
	return 255
}

// kind names what an id identifies, so that the compiler keeps ids of different nouns apart.
type kind interface{ prefix() string }

// ID is a typed, prefixed, time-ordered id: `evt_` and 26 characters of base 32.
type ID[K kind] struct{ UUID }

// The ids of the nouns.
type (
	TenantID       = ID[tenantKind]
	KeyID          = ID[keyKind]
	EventID        = ID[eventKind]
	SubscriptionID = ID[subscriptionKind]
	DeliveryID     = ID[deliveryKind]
	AttemptID      = ID[attemptKind]
	NodeID         = ID[nodeKind]
	ReplayID       = ID[replayKind]
	AuditID        = ID[auditKind]
	SourceID       = ID[sourceKind]
)

type (
	tenantKind       struct{}
	keyKind          struct{}
	eventKind        struct{}
	subscriptionKind struct{}
	deliveryKind     struct{}
	attemptKind      struct{}
	nodeKind         struct{}
	replayKind       struct{}
	auditKind        struct{}
	sourceKind       struct{}
)

func (tenantKind) prefix() string       { return "tnt_" }
func (keyKind) prefix() string          { return "key_" }
func (eventKind) prefix() string        { return "evt_" }
func (subscriptionKind) prefix() string { return "sub_" }
func (deliveryKind) prefix() string     { return "dlv_" }
func (attemptKind) prefix() string      { return "att_" }
func (nodeKind) prefix() string         { return "node_" }
func (replayKind) prefix() string       { return "rpl_" }
func (auditKind) prefix() string        { return "aud_" }
func (sourceKind) prefix() string       { return "src_" }

// ParseID reads an id of its kind: the prefix and exactly one spelling of the rest.
func ParseID[K kind](s string) (ID[K], error) {
	var k K
	p := k.prefix()
	if len(s) != len(p)+encodedLength || s[:len(p)] != p {
		return ID[K]{}, errBadID
	}
	u, err := parseUUID(s[len(p):])
	if err == nil && u == (UUID{}) {
		return ID[K]{}, errBadID // or a filter by it would be none
	}
	return ID[K]{u}, err
}

// EventIDRange gives the first and the last event id whose text begins so; false where none does.
func EventIDRange(beginning string) (first, last UUID, ok bool) {
	prefix := eventKind{}.prefix()
	if strings.HasPrefix(prefix, beginning) {
		beginning = prefix
	}
	rest, ok := strings.CutPrefix(beginning, prefix)
	if !ok || len(rest) > encodedLength {
		return first, last, false
	}
	low := rest + strings.Repeat("0", encodedLength-len(rest))
	high := rest
	if high == "" {
		high = "7" // The first of the characters holds three bits.
	}
	high += strings.Repeat("z", encodedLength-len(high))
	first, bad := parseUUID(low)
	last, worse := parseUUID(high)
	return first, last, bad == nil && worse == nil
}

// Prefix begins the text of every id of this kind.
func (*ID[K]) Prefix() string {
	var k K
	return k.prefix()
}

// String is the prefixed form; the absent id is the empty string.
func (id ID[K]) String() string {
	b, _ := id.AppendText(make([]byte, 0, textLength))
	return string(b)
}

// AppendText is String for encoders; the error is nil.
func (id ID[K]) AppendText(b []byte) ([]byte, error) {
	if id.IsZero() {
		return b, nil
	}
	var k K
	return id.appendText(append(b, k.prefix()...)), nil
}

// MarshalText is String for encoders that do not append.
func (id ID[K]) MarshalText() ([]byte, error) { return id.AppendText(make([]byte, 0, textLength)) }

// UnmarshalText is ParseID for decoders; the empty text is the absent id.
func (id *ID[K]) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID[K]{}
		return nil
	}
	parsed, err := ParseID[K](string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Value stores the 16 bytes (database/sql); the absent id is NULL.
func (id ID[K]) Value() (driver.Value, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id.UUID[:], nil
}

// Scan reads what Value stored.
func (id *ID[K]) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*id = ID[K]{}
		return nil
	case []byte:
		if len(v) == len(id.UUID) {
			copy(id.UUID[:], v)
			return nil
		}
	}
	return errBadID
}
