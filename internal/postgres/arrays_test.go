package postgres

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// TestArraysFitInOnePiece writes arrays of every kind behind each other, as a statement's arguments are.
func TestArraysFitInOnePiece(t *testing.T) {
	now := time.Now()
	arguments := inOnePiece("no array",
		uuids{posthorn.NewUUID(now), {}}, moments{now, {}}, texts{"a", "", "four"}, blobs{[]byte("five!"), nil, {}}, booleans{true, false},
		integers{1, 2}, bigints{3}, texts{}, uuids(nil), records{2, 2 * (57 + 8*10), func(to *record, i int) {
			to.uuid(posthorn.NewUUID(now))
			to.uuid(posthorn.UUID{})
			to.moment(now)
			to.text("four")
			to.bytes([]byte("five!"))
			to.bytes(nil)
			to.headers(posthorn.Headers{"A": {"b"}})
			to.boolean(true)
			to.integer(int32(i))
			to.bigint(2)
		}})
	if text, ok := arguments[0].(string); !ok || text != "no array" {
		t.Errorf("the first argument became %v", arguments[0])
	}
	var buf []byte
	room := 0
	for i, a := range arguments[1:] {
		a := a.(array)
		before := len(buf)
		buf = a.write(buf, 0)
		if wrote := len(buf) - before; wrote > a.size() {
			t.Errorf("array %d wrote %d bytes, at most %d were announced", i, wrote, a.size())
		}
		switch {
		case i == 0:
			room = cap(buf)
		case cap(buf) != room:
			t.Errorf("array %d took memory again: %d bytes instead of %d", i, cap(buf), room)
		}
	}
}
