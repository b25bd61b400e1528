package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"

	"github.com/posthorn/posthorn"
)

// list is the answer of every list.
type list[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor" doc:"Give it as cursor to get the next page; null on the last."`
}

// cursorLength is an id of 16 bytes and a check of 8, in base64url.
const cursorLength = 32

// pageOf reads limit and cursor. The cursor of another list, tenant or filter is refused: its place means nothing here.
func pageOf(c *call, p *Paging) (posthorn.Page, error) {
	page := posthorn.Page{Limit: int(p.Limit.length)}
	if page.Limit == 0 {
		page.Limit = defaultLimit
	}
	before, err := readCursor(c, "query.cursor", p.Cursor)
	page.Before = before
	return page, err
}

func readCursor(c *call, location, text string) (posthorn.UUID, error) {
	if text == "" {
		return posthorn.UUID{}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if len(text) != cursorLength || err != nil {
		return posthorn.UUID{}, errCursor(location)
	}
	id := posthorn.UUID(raw[:16])
	if writeCursor(c, id) != text {
		return posthorn.UUID{}, errCursor(location)
	}
	return id, nil
}

func errCursor(location string) error {
	return invalid(location, "must be the next_cursor of the page before, with the same filters; start again without it")
}

// writeCursor is the cursor of the rows below an id, in the list that a request asked for. The check keeps mistakes out,
// not attackers: a made-up cursor could only name a place in the tenant's own list.
func writeCursor(c *call, id posthorn.UUID) string {
	query := c.request.URL.Query()
	query.Del("cursor")
	query.Del("limit")
	for name, values := range query {
		if values[0] == "" {
			query.Del(name)
		}
	}
	check := cursorCheck(c.tenant(), c.path, query, id)
	return base64.RawURLEncoding.EncodeToString(append(id[:], check[:8]...))
}

func cursorCheck(tenant posthorn.TenantID, path string, query url.Values, id posthorn.UUID) [32]byte {
	return sha256.Sum256([]byte(tenant.String() + "\n" + path + "\n" + query.Encode() + "\n" + string(id[:])))
}

// pageWith is a page's answer.
func pageWith[T, R any](c *call, rows []R, next posthorn.UUID, show func(*R) T) *reply[list[T]] {
	l := list[T]{Data: make([]T, len(rows))}
	for i := range rows {
		l.Data[i] = show(&rows[i])
	}
	if !next.IsZero() {
		text := writeCursor(c, next)
		l.NextCursor = &text
	}
	return replyWith(l)
}
