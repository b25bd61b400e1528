package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

const (
	// stepEvents bounds the events that are matched again at a time, each read with its payload.
	stepEvents = 100
	// sourceReadMin and sourceReadMax bound the rows that are read at a time: as many as are asked for, when all match.
	sourceReadMin, sourceReadMax = 200, 1000
)

// ReplaySources implements posthorn.ReplayStore.
func (s *Store) ReplaySources(ctx context.Context, r *posthorn.Replay, limit int) (posthorn.ReplaySources, error) {
	scan := sourceScan{Store: s, replay: r, limit: max(limit, 1)}
	scan.read = min(max(limit, sourceReadMin), sourceReadMax)
	scan.found = posthorn.ReplaySources{Cursor: r.Cursor}
	if r.To == posthorn.ToMatching {
		scan.limit = min(scan.limit, stepEvents)
	}
	next := scan.deliveries
	if r.OfEvents() {
		next = scan.events
	}
	for !scan.full {
		if err := next(ctx); err != nil {
			return posthorn.ReplaySources{}, err
		}
	}
	if r.To == posthorn.ToOriginal {
		return scan.found, nil
	}
	for _, d := range scan.found.Deliveries {
		scan.ids = append(scan.ids, d.EventID.UUID)
	}
	scan.found.Deliveries = nil
	slices.SortFunc(scan.ids, compareIDs)
	scan.ids = slices.Compact(scan.ids)
	return scan.found, scan.load(ctx)
}

// sourceScan walks upwards from a replay's cursor to its own id.
type sourceScan struct {
	*Store
	replay *posthorn.Replay
	limit  int
	read   int
	found  posthorn.ReplaySources
	ids    uuids
	// full: the step has what it can take, or there is no more.
	full bool
}

// bounds are the ids to look at: above from, not below low, below high.
func (s *sourceScan) bounds() (from, low, high posthorn.UUID) {
	f := &s.replay.Filter
	from, high = s.found.Cursor, s.replay.ID.UUID
	if !f.Since.IsZero() {
		low = posthorn.MinUUID(f.Since.Add(-s.slack))
	}
	if !f.Until.IsZero() {
		if end := posthorn.MinUUID(f.Until.Add(s.slack)); compareIDs(end, high) < 0 {
			high = end
		}
	}
	return from, low, high
}

// look notes a row, and whether it matched and counts towards the limit.
func (s *sourceScan) look(id posthorn.UUID, wanted, taken bool) {
	s.found.Examined++
	s.found.Cursor = id
	if wanted {
		s.found.Matched++
	}
	if taken {
		s.limit--
	}
	s.full = s.limit == 0 || s.found.Examined >= posthorn.MaxExamined
}

// ended notes that fewer rows came than were asked for.
func (s *sourceScan) ended(came int) {
	if !s.full && came < s.read {
		s.full, s.found.Done = true, true
	}
}

// deliveries finds those that match the filter and have none of their event and subscription after them.
func (s *sourceScan) deliveries(ctx context.Context) error {
	r, f := s.replay, &s.replay.Filter
	from, low, high := s.bounds()
	sql := `SELECT ` + deliveryColumns + ` FROM deliveries d WHERE d.tenant_id = $1 AND d.id > $2 AND d.id >= $3 AND d.id < $4`
	args := []any{uuid(r.TenantID.UUID), [16]byte(from), [16]byte(low), [16]byte(high), s.read}
	failed := len(f.States) > 0 && !slices.Contains(f.States, posthorn.Delivered)
	switch {
	case !f.Replay.IsZero():
		sql, args = sql+` AND d.replay_id = $6`, append(args, uuid(f.Replay.UUID))
	case !f.SubscriptionID.IsZero():
		sql, args = sql+` AND d.subscription_id = $6`, append(args, uuid(f.SubscriptionID.UUID))
	case failed:
		sql += ` AND d.reason <> ''`
	}
	rows, err := many(ctx, s.Store, "find deliveries to replay", scanDelivery, sql+` ORDER BY d.id LIMIT $5`, args...)
	if err != nil {
		return err
	}
	superseded, err := s.superseded(ctx, rows)
	if err != nil {
		return err
	}
	for i := range rows {
		d := &rows[i]
		if s.full {
			return nil
		}
		wanted := f.Wants(d) && r.Wants(d)
		taken := wanted && !superseded[d.ID.UUID]
		if taken {
			s.found.Deliveries = append(s.found.Deliveries, *d)
		} else if wanted {
			s.found.Superseded++
		}
		s.look(d.ID.UUID, wanted, taken)
	}
	s.ended(len(rows))
	return nil
}

// ofEvent is the deliveries of an event k, found by that alone: an event has few, while a subscription may have millions.
const ofEvent = `(SELECT n.id, n.subscription_id, n.state FROM deliveries n WHERE n.event_id = k.event_id OFFSET 0) n`

// superseded are the deliveries after which there is another of their event to their subscription.
func (s *sourceScan) superseded(ctx context.Context, rows []posthorn.Delivery) (map[posthorn.UUID]bool, error) {
	later := map[posthorn.UUID]bool{}
	var ids, events, subscriptions uuids
	for i := range rows {
		if d := &rows[i]; s.replay.Filter.Wants(d) && s.replay.Wants(d) {
			ids, events = append(ids, d.ID.UUID), append(events, d.EventID.UUID)
			subscriptions = append(subscriptions, d.SubscriptionID.UUID)
		}
	}
	if len(ids) == 0 {
		return later, nil
	}
	err := s.do(ctx, "find later deliveries", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`SELECT k.id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS k(id, event_id, subscription_id)
			CROSS JOIN LATERAL (SELECT FROM `+ofEvent+` WHERE n.subscription_id = k.subscription_id AND n.id > k.id LIMIT 1) n`, ids, events, subscriptions).Query(func(rows pgx.Rows) error {
			var id posthorn.UUID
			_, err := pgx.ForEachRow(rows, []any{(*uuid)(&id)}, func() error {
				later[id] = true
				return nil
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	return later, err
}

// events finds the ids of those that match the filter.
func (s *sourceScan) events(ctx context.Context) error {
	r := s.replay
	from, low, high := s.bounds()
	rows, err := many(ctx, s.Store, "find events to replay", func(row pgx.CollectableRow) (e posthorn.Event, err error) {
		err = row.Scan((*uuid)(&e.ID.UUID), &e.Type, (*moment)(&e.CreatedAt), (*moment)(&e.DeliverAt))
		return e, err
	}, `SELECT e.id, e.type, e.created_at, e.deliver_at FROM events e
		WHERE e.tenant_id = $1 AND e.id > $2 AND e.id >= $3 AND e.id < $4 ORDER BY e.id LIMIT $5`,
		uuid(r.TenantID.UUID), [16]byte(from), [16]byte(low), [16]byte(high), s.read)
	if err != nil {
		return err
	}
	for i := range rows {
		if s.full {
			return nil
		}
		id, wanted := rows[i].ID.UUID, r.WantsEvent(&rows[i])
		if wanted {
			s.ids = append(s.ids, id)
		}
		s.look(id, wanted, wanted)
	}
	s.ended(len(rows))
	return nil
}

// load reads the events found, and the latest delivery of each to each subscription.
func (s *sourceScan) load(ctx context.Context) error {
	if len(s.ids) == 0 {
		return nil
	}
	return s.do(ctx, "read events to replay", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(steer)
		b.Queue(`SELECT `+eventColumns+`, e.payload FROM unnest($2::uuid[]) AS k(id)
			CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.tenant_id = $1 AND e.id = k.id OFFSET 0) e`,
			uuid(s.replay.TenantID.UUID), s.ids).Query(func(rows pgx.Rows) (err error) {
			s.found.Events, err = pgx.CollectRows(rows, scanEvent)
			return err
		})
		b.Queue(`SELECT `+deliveryColumns+` FROM unnest($1::uuid[]) AS k(id) CROSS JOIN LATERAL (
			SELECT DISTINCT ON (d.subscription_id) * FROM deliveries d WHERE d.event_id = k.id
			ORDER BY d.subscription_id, d.id DESC) d`, s.ids).Query(func(rows pgx.Rows) (err error) {
			s.found.Latest, err = pgx.CollectRows(rows, scanDelivery)
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
}
