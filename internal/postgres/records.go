package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/posthorn/posthorn"
)

// The composite types of the migrations, whose ids differ from database to database.
const (
	eventRow  = "event_row"
	matchRow  = "match_row"
	resultRow = "result_row"
)

// records is an array of a composite type: n rows, of which put writes all columns in their order. The server unpacks it in a
// sixth of the time that an array per column takes it.
type records struct {
	n int
	// room is about how many bytes the rows take: of each value its own, and eight for its type and length.
	room int
	put  func(to *record, i int)
}

// record writes the values of one row.
type record struct {
	buf     []byte
	columns uint32
}

func (a records) size() int { return header + a.n*2*prefix + a.room }

// write writes the array in PostgreSQL's binary form (array_send, record_send): per row the number of columns, then each value
// behind its type and length.
func (a records) write(buf []byte, element uint32) []byte {
	buf = appendArrayHeader(buf, element, a.n, false)
	r := record{buf: buf}
	for i := range a.n {
		from := r.open()
		columns := r.open()
		r.columns = 0
		a.put(&r, i)
		r.fill(columns, r.columns)
		r.close(from)
	}
	return r.buf
}

// open leaves room for a number and tells where it ends; fill writes it, and close writes how much came after it.
func (r *record) open() int {
	r.buf = append(r.buf, 0, 0, 0, 0)
	return len(r.buf)
}

func (r *record) fill(end int, n uint32) { binary.BigEndian.PutUint32(r.buf[end-prefix:], n) }

func (r *record) close(end int) { r.fill(end, uint32(len(r.buf)-end)) }

// value begins a column.
func (r *record) value(oid uint32, length int) {
	r.columns++
	r.buf = binary.BigEndian.AppendUint32(r.buf, oid)
	r.buf = binary.BigEndian.AppendUint32(r.buf, uint32(int32(length)))
}

// uuid writes an id; the absent one is NULL.
func (r *record) uuid(u posthorn.UUID) {
	if u.IsZero() {
		r.value(pgtype.UUIDOID, null)
		return
	}
	r.value(pgtype.UUIDOID, len(u))
	r.buf = append(r.buf, u[:]...)
}

// moment writes a time; zero is NULL.
func (r *record) moment(t time.Time) {
	if t.IsZero() {
		r.value(pgtype.TimestamptzOID, null)
		return
	}
	r.value(pgtype.TimestamptzOID, 8)
	r.buf = binary.BigEndian.AppendUint64(r.buf, uint64(t.UnixMicro()-epoch))
}

func (r *record) text(s string) {
	r.value(pgtype.TextOID, len(s))
	r.buf = append(r.buf, s...)
}

// bytes writes a bytea; nil is NULL.
func (r *record) bytes(b []byte) {
	if b == nil {
		r.value(pgtype.ByteaOID, null)
		return
	}
	r.filled(b)
}

// filled writes a bytea that is never NULL.
func (r *record) filled(b []byte) {
	r.value(pgtype.ByteaOID, len(b))
	r.buf = append(r.buf, b...)
}

// json writes JSON; nil is NULL.
func (r *record) json(text []byte) {
	if text == nil {
		r.value(pgtype.JSONOID, null)
		return
	}
	r.value(pgtype.JSONOID, len(text))
	r.buf = append(r.buf, text...)
}

// headers writes headers as JSON; absent ones are NULL.
func (r *record) headers(h posthorn.Headers) {
	if h == nil {
		r.json(nil)
		return
	}
	r.value(pgtype.JSONOID, 0)
	from := len(r.buf)
	r.buf = h.AppendJSON(r.buf)
	r.close(from)
}

func (r *record) boolean(b bool) {
	r.value(pgtype.BoolOID, 1)
	if b {
		r.buf = append(r.buf, 1)
	} else {
		r.buf = append(r.buf, 0)
	}
}

func (r *record) integer(n int32) {
	r.value(pgtype.Int4OID, 4)
	r.buf = binary.BigEndian.AppendUint32(r.buf, uint32(n))
}

func (r *record) bigint(n int64) {
	r.value(pgtype.Int8OID, 8)
	r.buf = binary.BigEndian.AppendUint64(r.buf, uint64(n))
}

// registerRecords makes a connection write records so. Before the migrations have made the types it knows none.
func registerRecords(ctx context.Context, conn *pgx.Conn) error {
	found, err := conn.Query(ctx, `SELECT n.name, t.oid, t.typarray FROM unnest($1::text[]) AS n(name) JOIN pg_type t ON t.oid = to_regtype(n.name)`,
		texts{eventRow, matchRow, resultRow})
	if err != nil {
		return fmt.Errorf("types of batches: %w", err)
	}
	var name string
	var element, list uint32
	_, err = pgx.ForEachRow(found, []any{&name, &element, &list}, func() error {
		// The driver writes whole arrays, and need not know their elements.
		unknown := &pgtype.Type{Name: name, OID: element, Codec: pgtype.ByteaCodec{}}
		conn.TypeMap().RegisterType(&pgtype.Type{Name: "_" + name, OID: list, Codec: arrayCodec{&pgtype.ArrayCodec{ElementType: unknown}}})
		return nil
	})
	if err != nil {
		return fmt.Errorf("types of batches: %w", err)
	}
	return nil
}
