package move

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/postgres"
)

// convert makes a value of the embedded store (NULL, INTEGER, TEXT or BLOB) one of a column's type. What is absent there
// is 0 or empty, here NULL where the column allows it.
func convert(v any, c postgres.Column) (any, error) {
	switch c.Type {
	case "uuid":
		return toUUID(v, c)
	case "timestamp with time zone", "interval", "boolean", "bigint", "integer", "smallint":
		return toNumber(v, c)
	case "text", "character varying":
		return toText(v, c), nil
	case "json", "jsonb":
		text := textOf(v)
		if text == "" && c.Nullable {
			return nil, nil
		}
		return text, nil
	case "bytea":
		b, _ := v.([]byte)
		if s, ok := v.(string); ok {
			b = []byte(s)
		}
		if b == nil && !c.Nullable {
			b = []byte{}
		}
		if b == nil {
			return nil, nil
		}
		return b, nil
	case "text[]":
		return toList(v, c, []string{})
	case "bigint[]":
		return toList(v, c, []int64{})
	}
	return nil, fmt.Errorf("the type %s of %s is not known", c.Type, c.Name)
}

func toUUID(v any, c postgres.Column) (any, error) {
	b, _ := v.([]byte)
	switch {
	case len(b) == 16:
		return [16]byte(b), nil
	case len(b) == 0 && c.Nullable:
		return nil, nil
	}
	return nil, fmt.Errorf("%s is no id", c.Name)
}

func toNumber(v any, c postgres.Column) (any, error) {
	n, ok := v.(int64)
	switch {
	case v == nil && c.Nullable:
		return nil, nil
	case v != nil && !ok:
		return nil, fmt.Errorf("%s is no number", c.Name)
	}
	switch c.Type {
	case "timestamp with time zone":
		if n == 0 && c.Nullable {
			return nil, nil
		}
		return time.UnixMicro(n).UTC(), nil
	case "interval":
		if n == 0 && c.Nullable {
			return nil, nil
		}
		return time.Duration(n) * time.Microsecond, nil
	case "boolean":
		return n != 0, nil
	}
	return n, nil
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// toText leaves out what PostgreSQL's text cannot hold, as its store does when it writes.
func toText(v any, c postgres.Column) any {
	text := strings.ReplaceAll(strings.ToValidUTF8(textOf(v), "\uFFFD"), "\x00", "\uFFFD")
	if text == "" && c.Nullable {
		return nil
	}
	return text
}

func toList[T any](v any, c postgres.Column, list []T) (any, error) {
	text := textOf(v)
	if text == "" {
		if c.Nullable {
			return nil, nil
		}
		return list, nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%s is no list: %w", c.Name, err)
	}
	return list, nil
}

// sum adds up rows whatever their order: how many, and their hashes.
type sum struct {
	rows   int64
	hashes [4]uint64
}

// add takes a row: as it is written, or as it is read back.
func (s *sum) add(columns []postgres.Column, values []any) error {
	h := sha256.New()
	var length [8]byte
	for i, v := range values {
		if columns[i].Type == "jsonb" {
			v = document(v)
		}
		text, err := canonical(v)
		if err != nil {
			return err
		}
		// The length before it keeps two values from running together alike; an absent one has none.
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		h.Write(length[:])
		h.Write(text)
	}
	digest := h.Sum(nil)
	for i := range s.hashes {
		s.hashes[i] += binary.BigEndian.Uint64(digest[8*i:])
	}
	s.rows++
	return nil
}

// document is JSON whose spelling the database does not keep, in one spelling.
func document(v any) any {
	var content any
	text, ok := v.(string)
	if !ok || json.Unmarshal([]byte(text), &content) != nil {
		return v
	}
	return fmt.Sprint(content)
}

// canonical is the text of a value, the same for what Go writes and what pgx reads.
func canonical(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return []byte("NULL"), nil
	case []byte:
		return append([]byte("b"), v...), nil
	case string:
		return append([]byte("t"), v...), nil
	case [16]byte:
		return append([]byte("u"), v[:]...), nil
	case time.Time:
		return fmt.Appendf(nil, "m%d", v.UnixMicro()), nil
	case time.Duration:
		return fmt.Appendf(nil, "s%d", v.Microseconds()), nil
	case bool:
		return fmt.Appendf(nil, "o%t", v), nil
	case int16, int32, int64:
		return fmt.Appendf(nil, "n%d", v), nil
	case []string, []int64, []any:
		return fmt.Appendf(nil, "l%q", fmt.Sprint(v)), nil
	}
	return nil, fmt.Errorf("a value of type %T is not known", v)
}
