package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const (
	// walkWindow bounds the lanes read by one statement.
	walkWindow = 2000
	// manualLimit bounds the manual retries looked at.
	manualLimit = 500
)

// cursor is where the next look begins: behind the last that this one served or saw, so that where there is more than one look takes, all get
// their turn.
type cursor[T any] struct {
	mu    sync.Mutex
	after T
}

func (c *cursor[T]) get() T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.after
}

func (c *cursor[T]) set(after T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = after
}

// duePlan is what a claim may take.
type duePlan struct {
	lanes []lanePlan
	// manual are retries by hand that are due, in lanes that are not FIFO.
	manual []posthorn.UUID
	// next is the wait until something else may be due; negative when nothing is known.
	next time.Duration
	// byHand counts the manual retries planned for each lane: they use its room, but not a probe's.
	byHand map[posthorn.SubscriptionID]int
	// truncated: there are more due lanes than can be served at once.
	truncated bool
}

// copy is a plan to take from, which leaves this one whole for another try.
func (p *duePlan) copy() duePlan {
	left := *p
	left.lanes = slices.Clone(p.lanes)
	return left
}

// lanePlan is a lane to take from.
type lanePlan struct {
	dueLane
	// room bounds what it may still give, share what it is asked for now.
	room, share int
	// manualOnly: a FIFO lane that is throttled or has an open breaker, where only a retry by hand passes.
	manualOnly bool
}

// dueManual lists manual retries that are due, the longest waiting first from a place ($2, $3) on, at most $1, with what their lanes allow.
const dueManual = `
SELECT d.visible_at, d.id, d.subscription_id, l.status = 'active' AND NOT l.deleted, l.fifo,
	coalesce(l.throttled_until <= now(), true) AND l.breaker_opens = 0
FROM (SELECT id, subscription_id, visible_at FROM deliveries d WHERE d.manual <> 0 AND ` + claimable + `
	AND d.visible_at >= $2 AND (d.visible_at, d.id) > ($2, $3) ORDER BY d.visible_at, d.id LIMIT $1) d
CROSS JOIN LATERAL (SELECT * FROM lanes l WHERE l.subscription_id = d.subscription_id OFFSET 0) l
ORDER BY d.visible_at, d.id`

// retryPlace is a manual retry's place among them. Those of lanes that are paused or full stay the longest waiting, and must not hide the
// others.
type retryPlace struct {
	since time.Time
	id    posthorn.UUID
}

// look finds the due lanes and retries that a node has room for.
func (s *Store) look(ctx context.Context, req *posthorn.ClaimRequest) (*duePlan, error) {
	plan := &duePlan{next: -1}
	start := s.cursor.get()
	window := min(max(req.Limit*9/8, 64), walkWindow)
	first := &pgx.Batch{}
	after := s.manual.get()
	if after.since.IsZero() {
		after.since = time.Unix(0, 0)
	}
	first.Queue(dueManual, manualLimit, moment(after.since), [16]byte(after.id)).Query(func(rows pgx.Rows) error {
		seen, last, err := plan.addManual(rows, req)
		if seen < manualLimit {
			last = retryPlace{}
		} else {
			plan.expect(claimRecheck)
		}
		s.manual.set(last)
		return err
	})
	if req.PerLane <= 0 {
		return s.lookAt(ctx, req, plan, first)
	}
	for after, wrapped := start, start.IsZero(); ; {
		walked, err := s.walk(ctx, after, window, first)
		if err != nil {
			return nil, err
		}
		first = nil
		ended := len(walked) < window
		if len(walked) > 0 {
			after = walked[len(walked)-1].SubscriptionID.UUID
		}
		if wrapped && !start.IsZero() {
			// Once around: what lies behind the start has been seen.
			seen := slices.IndexFunc(walked, func(w walkedLane) bool { return compareIDs(w.SubscriptionID.UUID, start) > 0 })
			if seen >= 0 {
				walked, ended = walked[:seen], true
			}
		}
		served, err := s.plan(ctx, plan, walked, req)
		switch {
		case err != nil:
			return nil, err
		case !served.IsZero():
			s.cursor.set(served)
			plan.truncated = true
			return plan.shared(req), nil
		case ended && wrapped:
			return plan.shared(req), nil
		case ended:
			after, wrapped = posthorn.UUID{}, true
		}
	}
}

// lookAt is look for a node that has room in a few lanes only.
func (s *Store) lookAt(ctx context.Context, req *posthorn.ClaimRequest, plan *duePlan, first *pgx.Batch) (*duePlan, error) {
	var lanes uuids
	for id, room := range req.Rooms {
		if room > 0 {
			lanes = append(lanes, id.UUID)
		}
	}
	walked, err := s.readDue(ctx, first, theseLanes+selectDue, lanes)
	if err != nil {
		return nil, err
	}
	served, err := s.plan(ctx, plan, walked, req)
	plan.truncated = !served.IsZero()
	return plan.shared(req), err
}

// plan takes walked lanes into the plan. When that is full it says with which lane.
func (s *Store) plan(ctx context.Context, plan *duePlan, walked []walkedLane, req *posthorn.ClaimRequest) (posthorn.UUID, error) {
	due := walked[:0:0]
	var lanes []posthorn.UUID
	for i := range walked {
		if w := &walked[i]; plan.due(w, req) {
			due = append(due, *w)
			if w.fifo {
				lanes = append(lanes, w.SubscriptionID.UUID)
			}
		}
	}
	// What is due in a FIFO lane may wait behind what is not.
	found, err := s.lookOrdered(ctx, s.pool, lanes, make([]bool, len(lanes)), false)
	if err != nil {
		return posthorn.UUID{}, err
	}
	for i := range due {
		w := &due[i]
		if w.fifo {
			o := found[0]
			found = found[1:]
			if len(o.due) == 0 && !w.strays {
				switch {
				case o.more:
					plan.expect(claimContended)
				case !o.next.IsZero():
					plan.expect(o.next.Sub(w.now))
				}
				continue
			}
		}
		plan.add(w, req)
		if len(plan.lanes) >= req.Limit {
			return w.SubscriptionID.UUID, nil
		}
	}
	return posthorn.UUID{}, nil
}

// walkedLane is a lane with the moment it was read at.
type walkedLane struct {
	dueLane
	now time.Time
}

// walk reads the lanes with pending deliveries after one, at most window; with is sent along.
func (s *Store) walk(ctx context.Context, after posthorn.UUID, window int, with *pgx.Batch) ([]walkedLane, error) {
	// The absent id is a value here: below all others.
	return s.readDue(ctx, with, walkLanes+selectDue, [16]byte(after), window)
}

func (s *Store) readDue(ctx context.Context, with *pgx.Batch, sql string, args ...any) ([]walkedLane, error) {
	var walked []walkedLane
	var b pgx.Batch
	b.Queue(steer)
	if with != nil {
		b.QueuedQueries = append(b.QueuedQueries, with.QueuedQueries...)
	}
	b.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
		walked, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (walkedLane, error) {
			var w walkedLane
			err := row.Scan(w.fields(&w.now)...)
			return w, err
		})
		return err
	})
	err := s.pool.SendBatch(ctx, &b).Close()
	return walked, err
}

// roomOf is how many deliveries of a lane the node can take.
func roomOf(req *posthorn.ClaimRequest, id posthorn.SubscriptionID) int {
	if room, ok := req.Rooms[id]; ok {
		return room
	}
	return req.PerLane
}

// due says whether a lane has something for this node now, and notes when it will otherwise.
func (p *duePlan) due(w *walkedLane, req *posthorn.ClaimRequest) bool {
	if !w.active || roomOf(req, w.SubscriptionID) <= 0 {
		return false
	}
	due := w.first
	if w.ThrottledUntil.After(due) {
		due = w.ThrottledUntil
	}
	if w.BreakerOpens > 0 && w.BreakerUntil.After(due) {
		due = w.BreakerUntil
	}
	if wait := due.Sub(w.now); wait > 0 {
		p.expect(wait)
		return false
	}
	return true
}

// add takes a due lane into the plan.
func (p *duePlan) add(w *walkedLane, req *posthorn.ClaimRequest) {
	room := roomOf(req, w.SubscriptionID) - p.byHand[w.SubscriptionID]
	if w.probe {
		room = 1
	}
	if room > 0 {
		p.lanes = append(p.lanes, lanePlan{dueLane: w.dueLane, room: room})
	}
}

func (p *duePlan) expect(wait time.Duration) {
	if p.next < 0 || wait < p.next {
		p.next = wait
	}
}

// addManual takes manual retries into the plan. In a FIFO lane one is given only as the lane's lowest, so there it is the
// lane that is planned for. It tells how many it has seen, and where the last was.
func (p *duePlan) addManual(rows pgx.Rows, req *posthorn.ClaimRequest) (seen int, last retryPlace, err error) {
	defer rows.Close()
	p.byHand = map[posthorn.SubscriptionID]int{}
	taken := map[posthorn.SubscriptionID]int{}
	for rows.Next() {
		var l lanePlan
		err := rows.Scan((*moment)(&last.since), (*uuid)(&last.id), (*uuid)(&l.SubscriptionID.UUID), &l.active, &l.fifo, &l.open)
		if err != nil {
			return seen, last, err
		}
		seen++
		if !l.active {
			continue
		}
		room := roomOf(req, l.SubscriptionID)
		taken[l.SubscriptionID]++
		switch {
		case taken[l.SubscriptionID] > room || len(p.manual) >= req.Limit:
		case !l.fifo:
			p.manual = append(p.manual, last.id)
			p.byHand[l.SubscriptionID]++
		case !l.open && taken[l.SubscriptionID] == 1:
			l.room, l.manualOnly = room, true
			p.lanes = append(p.lanes, l)
		}
	}
	return seen, last, rows.Err()
}

// shared divides the limit among the lanes.
func (p *duePlan) shared(req *posthorn.ClaimRequest) *duePlan {
	n := len(p.lanes)
	for i := range p.lanes {
		p.lanes[i].share = min(p.lanes[i].room, (req.Limit+n-1)/n)
	}
	return p
}
