package postgres

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/posthorn/posthorn"
)

// The arrays of batches, a column each. The driver would box every element and let the buffer grow with it; these are
// measured first and written in one piece. Growing was a quarter of the bytes that a busy node allocated.
type (
	uuids    []posthorn.UUID // absent ids are NULL
	moments  []time.Time     // zero times are NULL
	texts    []string
	blobs    [][]byte // nil is NULL; also of JSON, whose binary form is its text
	booleans []bool
	integers []int32
	bigints  []int64
	array    interface {
		write(buf []byte, element uint32) []byte
		// size is how many bytes write adds at most; of records that is a guess.
		size() int
	}
	// leading is the first array of a statement: it makes room for all.
	leading struct {
		array
		room int
	}
	arrayPlan struct{ element uint32 }
)

// arrayCodec is the driver's, but for the arrays above.
type arrayCodec struct{ *pgtype.ArrayCodec }

// PlanEncode implements pgtype.Codec.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(array); ok && format == pgtype.BinaryFormatCode {
		return arrayPlan{c.ElementType.OID}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// Encode implements pgtype.EncodePlan.
func (p arrayPlan) Encode(value any, buf []byte) ([]byte, error) {
	return value.(array).write(buf, p.element), nil
}

func (l leading) write(buf []byte, element uint32) []byte {
	return l.array.write(slices.Grow(buf, l.room), element)
}

// inOnePiece makes the arguments of a statement take their memory at once.
func inOnePiece(arguments ...any) []any {
	first, room := -1, 64 // for what is not an array
	for i, a := range arguments {
		if a, ok := a.(array); ok {
			room += a.size()
			if first < 0 {
				first = i
			}
		}
	}
	if first >= 0 {
		arguments[first] = leading{arguments[first].(array), room}
	}
	return arguments
}

// columns makes lists with room for n each, out of one piece of memory.
func columns[L ~[]E, E any](n int, lists ...*L) {
	all := make(L, n*len(lists))
	for i, list := range lists {
		*list = all[i*n : i*n : (i+1)*n]
	}
}

// registerArrays makes a connection write arrays so.
func registerArrays(m *pgtype.Map) {
	for _, oid := range []uint32{
		pgtype.UUIDArrayOID, pgtype.TimestamptzArrayOID, pgtype.TextArrayOID, pgtype.ByteaArrayOID, pgtype.JSONArrayOID,
		pgtype.BoolArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID,
	} {
		known, _ := m.TypeForOID(oid)
		if codec, ok := known.Codec.(*pgtype.ArrayCodec); ok {
			m.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: arrayCodec{codec}})
		}
	}
}

// null is the length of an element that is NULL.
const null = -1

// header and prefix are the bytes before an array, and before each of its elements.
const header, prefix = 20, 4

// writeArray writes a one-dimensional array in PostgreSQL's binary form (array_send): each element behind its length.
func writeArray[E any](buf []byte, element uint32, list []E, length func(E) int, put func([]byte, E) []byte) []byte {
	nulls := slices.ContainsFunc(list, func(e E) bool { return length(e) == null })
	buf = appendArrayHeader(buf, element, len(list), nulls)
	for _, e := range list {
		n := length(e)
		buf = binary.BigEndian.AppendUint32(buf, uint32(int32(n)))
		if n != null {
			buf = put(buf, e)
		}
	}
	return buf
}

// appendArrayHeader writes what comes before the elements: dimensions, whether there are NULLs, the elements' type, how many they
// are, and the lower bound.
func appendArrayHeader(buf []byte, element uint32, n int, nulls bool) []byte {
	hasNulls := uint32(0)
	if nulls {
		hasNulls = 1
	}
	for _, word := range [...]uint32{1, hasNulls, element, uint32(n), 1} {
		buf = binary.BigEndian.AppendUint32(buf, word)
	}
	return buf
}

func lengths[E ~string | ~[]byte](list []E) int {
	n := header
	for _, e := range list {
		n += prefix + len(e)
	}
	return n
}

func always[E any](n int) func(E) int { return func(E) int { return n } }

func (a uuids) size() int { return header + (prefix+16)*len(a) }

func (a uuids) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, func(u posthorn.UUID) int {
		if u.IsZero() {
			return null
		}
		return len(u)
	}, func(buf []byte, u posthorn.UUID) []byte { return append(buf, u[:]...) })
}

// epoch is where PostgreSQL's times begin, in Unix microseconds: the year 2000.
const epoch = 946_684_800_000_000

func (a moments) size() int { return header + (prefix+8)*len(a) }

func (a moments) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, func(t time.Time) int {
		if t.IsZero() {
			return null
		}
		return 8
	}, func(buf []byte, t time.Time) []byte {
		return binary.BigEndian.AppendUint64(buf, uint64(t.UnixMicro()-epoch))
	})
}

func (a texts) size() int { return lengths(a) }

func (a texts) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, func(s string) int { return len(s) },
		func(buf []byte, s string) []byte { return append(buf, s...) })
}

func (a blobs) size() int { return lengths(a) }

func (a blobs) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, func(b []byte) int {
		if b == nil {
			return null
		}
		return len(b)
	}, func(buf, b []byte) []byte { return append(buf, b...) })
}

func (a booleans) size() int { return header + (prefix+1)*len(a) }

func (a booleans) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, always[bool](1), func(buf []byte, b bool) []byte {
		if b {
			return append(buf, 1)
		}
		return append(buf, 0)
	})
}

func (a integers) size() int { return header + (prefix+4)*len(a) }

func (a integers) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, always[int32](4), func(buf []byte, n int32) []byte {
		return binary.BigEndian.AppendUint32(buf, uint32(n))
	})
}

func (a bigints) size() int { return header + (prefix+8)*len(a) }

func (a bigints) write(buf []byte, element uint32) []byte {
	return writeArray(buf, element, a, always[int64](8), func(buf []byte, n int64) []byte {
		return binary.BigEndian.AppendUint64(buf, uint64(n))
	})
}
