//go:build unix

package chaos_test

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/ledger"
)

// payload is that of the event of a number.
func payload(n int) []byte {
	return fmt.Appendf(nil, `{"n": %d,  "big": 12345678901234567890.0, "é": "é"}`, n)
}

// numberOf finds the number of the event that a payload is of.
func numberOf(body []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"n": `))
	digits, _, found := bytes.Cut(rest, []byte(","))
	n, err := strconv.Atoi(string(digits))
	return n, ok && found && err == nil && n >= 0
}

// count knows of each event who answered it with a 2xx, and when: what millions of deliveries leave room for.
type count struct {
	mu    sync.Mutex
	began time.Time
	// requests are all, altered those that are not what was published, or wrongly signed.
	requests, altered int
	// answered is, by the number of the event, when the lane answered it last: in milliseconds after a moment before began.
	answered map[*lane][]int32
	again    []repetition
}

// repetition is a delivery that came once more after it had been answered with a 2xx.
type repetition struct {
	number      int
	lane        *lane
	first, then time.Time
}

func newCount() *count {
	return &count{began: time.Now().Add(-time.Second), answered: map[*lane][]int32{}}
}

func (c *count) note(l *lane, r *ledger.Request) {
	n, ok := numberOf(r.Body)
	right := ok && r.Signature == nil && bytes.Equal(r.Body, payload(n))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if !right {
		c.altered++
		return
	}
	if r.Status/100 != 2 {
		return
	}
	list := c.answered[l]
	if missing := n + 1 - len(list); missing > 0 {
		list = append(list, make([]int32, missing)...)
		c.answered[l] = list
	}
	if list[n] > 0 {
		c.again = append(c.again, repetition{n, l, c.began.Add(time.Duration(list[n]) * time.Millisecond), r.At})
	}
	list[n] = int32(r.At.Sub(c.began).Milliseconds())
}

// lost counts the deliveries of the events below a number that were never answered with a 2xx.
func (c *count) lost(kinds []kind, below int) (lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range below {
		for _, l := range kinds[n%len(kinds)].lanes {
			if list := c.answered[l]; n >= len(list) || list[n] == 0 {
				lost++
			}
		}
	}
	return lost
}

// totals are the requests so far, and what came again.
func (c *count) totals() (requests, altered int, again []repetition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, c.altered, c.again[:len(c.again):len(c.again)]
}
