package storetest

import (
	"slices"

	"github.com/posthorn/posthorn"
)

// walk reads a list page by page, by pages of every size, while new rows arrive before its beginning: each row wanted
// comes once, in order, and none that arrived since.
func walk(f *Fixture, want []posthorn.UUID, page func(posthorn.Page) ([]posthorn.UUID, posthorn.UUID), arrive func()) {
	f.T.Helper()
	for limit := 1; limit <= len(want)+1; limit++ {
		p := posthorn.Page{Limit: limit}
		// What arrived in an earlier round is passed by.
		newest, _ := page(posthorn.Page{Limit: 200})
		if i := slices.Index(newest, want[0]); i > 0 {
			p.Before = newest[i-1]
		}
		var got []posthorn.UUID
		for pages := 0; ; pages++ {
			rows, next := page(p)
			if len(rows) > limit {
				f.T.Fatalf("%d rows on a page of %d", len(rows), limit)
			}
			if pages > 100 {
				f.T.Fatal("the pages do not end")
			}
			got = append(got, rows...)
			if next.IsZero() {
				break
			}
			p.Before = next
			arrive()
		}
		if !slices.Equal(got, want) {
			f.T.Fatalf("by pages of %d: %x, want %x", limit, got, want)
		}
	}
}
