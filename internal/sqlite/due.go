package sqlite

import (
	"database/sql"
	"slices"
	"time"

	"github.com/posthorn/posthorn"
)

// due is the search for what may be claimed. It reads a snapshot beside the writer; what it finds is checked again when
// it is claimed.
type due struct {
	reader
	req posthorn.ClaimRequest
	now time.Time
	// resume says where the walk over a FIFO lane's keys goes on; see heads.
	resume map[posthorn.SubscriptionID]string
	// lanes have something due, the longest waiting first.
	lanes []*dueLane
	// more says that a limit left something behind; next is when something else comes due, zero for never.
	more bool
	next time.Time
}

type dueLane struct {
	id   posthorn.SubscriptionID
	head time.Time
	fifo bool
	// gated lanes are throttled or their breaker is open: only manual retries pass. A probing one gives one delivery.
	gated, probing bool
	room           int
	ids            []posthorn.DeliveryID
	dry            bool
}

// waitingLanes steps from lane to lane through the queue's index, never through the rows of one.
const waitingLanes = `WITH RECURSIVE waiting (id) AS (
		SELECT min(subscription_id) FROM deliveries WHERE state = 0
		UNION ALL
		SELECT (SELECT min(subscription_id) FROM deliveries WHERE state = 0 AND subscription_id > waiting.id)
		FROM waiting WHERE waiting.id IS NOT NULL)
	SELECT waiting.id, fifo, throttled_until, breaker_opens, breaker_until, (SELECT visible_at FROM deliveries
		WHERE state = 0 AND deliveries.subscription_id = waiting.id ORDER BY visible_at LIMIT 1)
	FROM waiting CROSS JOIN lanes ON lanes.subscription_id = waiting.id WHERE phase = 0`

// search finds what may be claimed: up to the limit, the first of each lane before the second of any.
func (d *due) search() ([]posthorn.DeliveryID, error) {
	rows, err := d.query(waitingLanes)
	if err := each(rows, err, d.consider); err != nil {
		return nil, err
	}
	if err := d.dropGated(); err != nil {
		return nil, err
	}
	if len(d.lanes) == 0 {
		return nil, nil
	}
	slices.SortFunc(d.lanes, func(a, b *dueLane) int { return a.head.Compare(b.head) })
	if err := d.fill(); err != nil {
		return nil, err
	}
	return d.interleave(), nil
}

// consider takes a waiting lane into the search, or notes when it will be worth it.
func (d *due) consider(rows *sql.Rows) error {
	l := &dueLane{}
	var throttled, breaker time.Time
	var opens int
	err := rows.Scan(&l.id, &l.fifo, instant{&throttled}, &opens, instant{&breaker}, instant{&l.head})
	if err != nil {
		return err
	}
	l.room = d.req.PerLane
	if room, ok := d.req.Rooms[l.id]; ok {
		l.room = room
	}
	if l.room <= 0 {
		return nil
	}
	gate := throttled
	if breaker.After(gate) {
		gate = breaker
	}
	switch {
	case gate.After(d.now):
		l.gated = true
		d.waits(gate)
	case l.head.After(d.now):
		d.waits(l.head)
		return nil
	case opens > 0:
		l.probing, l.room = true, 1
	}
	d.lanes = append(d.lanes, l)
	return nil
}

// waits notes when something comes due.
func (d *due) waits(until time.Time) {
	if d.next.IsZero() || until.Before(d.next) {
		d.next = until
	}
}

// dropGated leaves gated lanes out where there is not one manual retry: the rule, and there may be thousands of them.
func (d *due) dropGated() error {
	var manual bool
	err := d.queryRow(`SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = 0 AND manual > 0)`).Scan(&manual)
	if err == nil && !manual {
		d.lanes = slices.DeleteFunc(d.lanes, func(l *dueLane) bool { return l.gated })
	}
	return err
}

// fill gives each lane its share, then what others left over, until the limit is reached or nothing is left.
func (d *due) fill() error {
	open, found, share := len(d.lanes), 0, 0
	for open > 0 && found < d.req.Limit {
		share += (d.req.Limit - found + open - 1) / open
		open = 0
		for i, l := range d.lanes {
			if found >= d.req.Limit && share == 1 {
				d.lanes, d.more = d.lanes[:i], true
				break
			}
			if l.dry {
				continue
			}
			found -= len(l.ids)
			if err := d.take(l, min(share, l.room)); err != nil {
				return err
			}
			found += len(l.ids)
			if !l.dry {
				open++
			}
		}
	}
	// Lanes that were not read to their end have more, as far as is known.
	d.more = d.more || open > 0
	return nil
}

// take finds the first n of a lane.
func (d *due) take(l *dueLane, n int) error {
	if l.fifo {
		l.dry = true
		if err := d.heads(l); err != nil {
			return err
		}
		return d.yielded(l)
	}
	l.ids = l.ids[:0]
	statement := firstOfLane
	if l.gated {
		statement = firstManualOfLane
	}
	rows, err := d.query(statement, l.id, stamp(d.now), stamp(d.now), n)
	err = each(rows, err, func(rows *sql.Rows) error {
		var id posthorn.DeliveryID
		err := rows.Scan(&id)
		l.ids = append(l.ids, id)
		return err
	})
	full := len(l.ids) == l.room
	l.dry = full || len(l.ids) < n
	if full && !l.probing {
		d.more = true
	}
	return err
}

// firstOfLane finds the first deliveries of a lane, firstManualOfLane only manual retries.
const (
	firstOfLane = `SELECT id FROM deliveries INDEXED BY deliveries_queue WHERE state = 0 AND subscription_id = ?
		AND visible_at <= ? AND (expires_at = 0 OR expires_at > ?) ORDER BY visible_at LIMIT ?`
	firstManualOfLane = `SELECT id FROM deliveries INDEXED BY deliveries_manual WHERE state = 0 AND subscription_id = ?
		AND visible_at <= ? AND (expires_at = 0 OR expires_at > ?) AND manual > 0 ORDER BY visible_at LIMIT ?`
)

// keysPerWalk bounds the ordering keys of one lane looked at in one search; the next search goes on behind them.
const keysPerWalk = 1000

// orderedWalk steps from key to key of a FIFO lane, ?1, from a key on, ?2, over at most ?3 of them, and gives the lowest
// pending delivery of each. A retry by hand can put one below another that is under way, which is found among what will be
// visible between ?4, now, and ?5, a lease on.
const orderedWalk = `WITH RECURSIVE walk (key) AS (
		SELECT min(ordering_key) FROM deliveries
		WHERE state = 0 AND sequence > 0 AND subscription_id = ?1 AND ordering_key >= ?2
		UNION ALL
		SELECT (SELECT min(ordering_key) FROM deliveries
			WHERE state = 0 AND sequence > 0 AND subscription_id = ?1 AND ordering_key > walk.key)
		FROM walk WHERE walk.key IS NOT NULL LIMIT ?3)
	SELECT key, id, visible_at, expires_at, claim, manual, manual > 0 AND key IN (SELECT o.ordering_key FROM deliveries AS o INDEXED BY deliveries_queue
		WHERE o.state = 0 AND o.subscription_id = ?1 AND o.visible_at > ?4 AND o.visible_at <= ?5
		AND o.claim IS NOT NULL AND o.sequence > 0) AS under_way
	FROM walk CROSS JOIN deliveries ON id = (SELECT id FROM deliveries
		WHERE state = 0 AND sequence > 0 AND subscription_id = ?1 AND ordering_key = key ORDER BY sequence LIMIT 1)`

// heads finds the lowest pending delivery of each ordering key: the only one that may be sent, if it is due. A claimed one
// is not, and so nothing of its key is.
func (d *due) heads(l *dueLane) error {
	rows, err := d.query(orderedWalk, l.id, d.resume[l.id], keysPerWalk, stamp(d.now), stamp(d.now.Add(posthorn.Lease)))
	walked := 0
	var key string
	err = each(rows, err, func(rows *sql.Rows) error {
		var id posthorn.DeliveryID
		var visible, expires time.Time
		var manual int
		var underWay bool
		if err := rows.Scan(&key, &id, instant{&visible}, instant{&expires}, new(any), &manual, &underWay); err != nil {
			return err
		}
		walked++
		switch {
		case l.gated && manual == 0, !expires.IsZero() && !expires.After(d.now):
		case visible.After(d.now):
			d.waits(visible)
		case underWay:
			d.waits(d.now.Add(time.Second))
		case len(l.ids) == l.room:
			d.more = d.more || !l.probing
		default:
			l.ids = append(l.ids, id)
		}
		return nil
	})
	delete(d.resume, l.id)
	if walked == keysPerWalk {
		d.resume[l.id] = key + "\x00"
		d.waits(d.now.Add(time.Second))
	}
	return err
}

// yielded finds what has left the order of a FIFO lane and is due, whatever the others of its key do.
func (d *due) yielded(l *dueLane) error {
	condition := ``
	if l.gated {
		condition = ` AND manual > 0`
	}
	var ids []posthorn.DeliveryID
	rows, err := d.query(`SELECT id, visible_at FROM deliveries INDEXED BY deliveries_yielded
		WHERE state = 0 AND sequence < 0 AND subscription_id = ? AND (expires_at = 0 OR expires_at > ?)`+condition+`
		ORDER BY visible_at LIMIT ?`, l.id, stamp(d.now), l.room+1)
	err = each(rows, err, func(rows *sql.Rows) error {
		var id posthorn.DeliveryID
		var visible time.Time
		if err := rows.Scan(&id, instant{&visible}); err != nil {
			return err
		}
		switch {
		case visible.After(d.now):
			d.waits(visible)
		default:
			ids = append(ids, id)
		}
		return nil
	})
	if len(ids) == 0 {
		return err
	}
	// In turn, so that neither the order nor what has left it waits for all of the other.
	ordered := l.ids
	l.ids = make([]posthorn.DeliveryID, 0, l.room)
	for i := range max(len(ordered), len(ids)) {
		if i < len(ordered) && len(l.ids) < l.room {
			l.ids = append(l.ids, ordered[i])
		}
		if i < len(ids) && len(l.ids) < l.room {
			l.ids = append(l.ids, ids[i])
		}
	}
	if len(l.ids) < len(ordered)+len(ids) {
		d.more = d.more || !l.probing
	}
	return err
}

// interleave is the first of each lane, then the second of each, up to the limit.
func (d *due) interleave() []posthorn.DeliveryID {
	var ids []posthorn.DeliveryID
	for round := 0; ; round++ {
		before := len(ids)
		for _, l := range d.lanes {
			if round >= len(l.ids) {
				continue
			}
			if len(ids) == d.req.Limit {
				d.more = true
				return ids
			}
			ids = append(ids, l.ids[round])
		}
		if len(ids) == before {
			return ids
		}
	}
}
