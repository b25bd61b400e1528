package postgres

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn"
)

// TestTwoNodes lets two stores do everything at once to the same few lanes and keys. Nothing may fail, also not for a
// deadlock, and the books must balance afterwards.
func TestTwoNodes(t *testing.T) {
	databaseURL := newDatabase(t)
	first := newLoad(t, openURL(t, databaseURL), 3)
	for range 3 {
		first.subs = append(first.subs, first.subscribe(t, func(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO }))
	}
	second := &load{Store: openURL(t, databaseURL), tenant: first.tenant, subs: first.subs}
	second.node.UUID = posthorn.NewUUID(first.Now())
	var wg sync.WaitGroup
	for i, l := range []*load{first, second, first, second} {
		wg.Go(func() { l.everything(t, rand.New(rand.NewPCG(uint64(i), 7))) })
	}
	wg.Wait()
	for what, sql := range map[string]string{
		"deliveries with a wrong number of attempts": `SELECT count(*) FROM deliveries d WHERE d.attempts - (d.claim IS NOT NULL)::int <>
			(SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id)`,
		"attempts with a number twice": `SELECT count(*) FROM (SELECT FROM attempts GROUP BY delivery_id, number HAVING count(*) > 1) x`,
		"events without their deliveries": `SELECT count(*) FROM events e WHERE e.deliveries <>
			(SELECT count(*) FROM deliveries d WHERE d.event_id = e.id)`,
		"sequence numbers given twice": `SELECT count(*) FROM (SELECT FROM deliveries WHERE sequence > 0
			GROUP BY subscription_id, sequence HAVING count(*) > 1) x`,
		"lanes that disagree with their subscription": `SELECT count(*) FROM lanes l JOIN subscriptions s ON s.id = l.subscription_id
			WHERE l.version <> s.version OR l.status <> s.status`,
	} {
		if n := value[int64](t, first.Store, sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}

// everything is one node's random doings.
func (l *load) everything(t *testing.T, r *rand.Rand) {
	ctx := t.Context()
	check := func(what string, err error, allowed ...posthorn.Kind) {
		if err != nil && !slices.Contains(allowed, posthorn.KindOf(err)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range 40 {
		var batch []posthorn.Acceptance
		for range 10 {
			subs := slices.Clone(l.subs)
			r.Shuffle(len(subs), func(i, j int) { subs[i], subs[j] = subs[j], subs[i] })
			a := l.acceptance([]byte("1"), r.IntN(2) == 0, subs[:1+r.IntN(4)]...)
			key := r.IntN(800)
			a.Event.IdempotencyKey, a.Event.OrderingKey = strconv.Itoa(key), strconv.Itoa(key%2)
			batch = append(batch, a)
		}
		accepted, err := l.AcceptEvents(ctx, l.node, batch)
		check("accept", err)
		var held []posthorn.Claimed
		for _, a := range accepted {
			check("event", a.Err)
			held = append(held, a.Claimed...)
		}
		claimed, err := l.ClaimDeliveries(ctx, posthorn.ClaimRequest{Node: l.node, Limit: 20, PerLane: 5, MaxBytes: 1 << 20})
		check("claim", err)
		held = append(held, claimed.Claims...)
		r.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		l.settle(ctx, r, held, check)
		l.meddle(ctx, r, held, check)
	}
}

// settle renews, releases and records claims.
func (l *load) settle(ctx context.Context, r *rand.Rand, held []posthorn.Claimed, check func(string, error, ...posthorn.Kind)) {
	var claims, released []posthorn.Claim
	record := posthorn.RecordBatch{Node: l.node}
	for _, c := range held {
		claims = append(claims, c.Claim)
		switch r.IntN(6) {
		case 0:
			released = append(released, c.Claim)
		case 1:
			failure := l.success(c)
			failure.On, failure.Attempt.Outcome = posthorn.OnFailure, posthorn.HTTPError
			record.Results = append(record.Results, failure)
		default:
			record.Results = append(record.Results, l.success(c))
		}
	}
	_, err := l.RenewClaims(ctx, claims)
	check("renew", err)
	check("release", l.ReleaseClaims(ctx, released))
	for range r.IntN(3) {
		change := posthorn.LaneChange{SubscriptionID: l.subs[r.IntN(len(l.subs))], TenantID: l.tenant}
		switch r.IntN(3) {
		case 0:
			change.Failed, change.OpenFor = true, time.Millisecond
		case 1:
			change.Recovered = true
		case 2:
			change.Disable = posthorn.DisabledGone
		}
		record.Lanes = append(record.Lanes, change)
	}
	_, err = l.RecordAttempts(ctx, record)
	check("record", err)
}

// meddle does what people and the upkeep do.
func (l *load) meddle(ctx context.Context, r *rand.Rand, held []posthorn.Claimed, check func(string, error, ...posthorn.Kind)) {
	_, err := l.UpdateSubscription(ctx, l.tenant, l.subs[r.IntN(len(l.subs))], func(s *posthorn.Subscription) error {
		s.Status = []posthorn.Status{posthorn.StatusActive, posthorn.StatusActive, posthorn.StatusPaused}[r.IntN(3)]
		return nil
	})
	check("update", err)
	if len(held) > 0 {
		_, err = l.CancelDelivery(ctx, l.tenant, held[0].DeliveryID)
		check("cancel", err, posthorn.Conflict)
		_, err = l.RetryDelivery(ctx, l.tenant, held[len(held)-1].DeliveryID)
		check("retry", err, posthorn.Conflict)
	}
	on := []posthorn.Trigger{posthorn.OnRetry, posthorn.OnCancel}[r.IntN(2)]
	_, err = l.ChangeDeliveries(ctx, l.tenant, posthorn.BulkChange{
		On: on, Limit: 5,
		Filter: posthorn.DeliveryFilter{SubscriptionID: l.subs[r.IntN(len(l.subs))]},
	})
	check("bulk change", err)
	_, err = l.WithdrawDeliveries(ctx, posthorn.Withdrawal{Hold: time.Second, Window: time.Hour, Batch: 5})
	check("withdraw", err)
}

// TestBehindPooler forgets everything about the session whenever a transaction has ended, as a connection of a pooler in
// transaction mode may be another one each time: prepared statements, settings, temporary tables, locks.
func TestBehindPooler(t *testing.T) {
	config, err := poolConfig(Options{URL: newDatabase(t) + "&pool_mode=transaction"})
	if err != nil {
		t.Fatal(err)
	}
	if config.ConnConfig.RuntimeParams["statement_timeout"] != "" {
		t.Error("a setting is sent at the start of the connection")
	}
	config.AfterRelease = func(conn *pgx.Conn) bool {
		_, err := conn.Exec(context.Background(), `DISCARD ALL`, pgx.QueryExecModeSimpleProtocol)
		return err == nil
	}
	s, err := open(t.Context(), Options{Sealer: reversing{}}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l := newLoad(t, s, 2)
	fifo := l.subscribe(t, func(s *posthorn.Subscription) { s.Ordering = posthorn.OrderingFIFO })
	for n := range 3 {
		a := l.acceptance([]byte("1"), n > 0, l.subs[0], l.subs[1], fifo)
		a.Event.IdempotencyKey = "k" + strconv.Itoa(n)
		born := l.accept(t, a)[0].Claimed
		claims := l.claim(t, 3-len(born))
		if _, err := s.RenewClaims(t.Context(), []posthorn.Claim{claims[0].Claim}); err != nil {
			t.Fatal(err)
		}
		l.recordBatch(t, append(born, claims...))
		if d, err := s.EventDeliveries(t.Context(), l.tenant, a.Event.ID); err != nil || len(d) != 3 || d[0].State != posthorn.Delivered {
			t.Fatal(d, err)
		}
		again := l.acceptance([]byte("1"), true, l.subs[0])
		again.Event.IdempotencyKey = a.Event.IdempotencyKey
		if answer := l.accept(t, again)[0]; !answer.Duplicate || answer.EventID != a.Event.ID {
			t.Fatal("a key was accepted twice")
		}
	}
	if _, _, err := s.ListEvents(t.Context(), l.tenant, posthorn.EventFilter{}, posthorn.Page{Limit: 10}); err != nil {
		t.Error(err)
	}
	if _, err := s.Queue(t.Context(), l.tenant); err != nil {
		t.Error(err)
	}
	if _, err := s.UpdateSubscription(t.Context(), l.tenant, fifo, func(*posthorn.Subscription) error { return nil }); err != nil {
		t.Error(err)
	}
	if held, err := s.AcquireLease(t.Context(), "janitor", l.node, time.Minute); err != nil || !held {
		t.Error(held, err)
	}
	l.cleanup(t, 100)
}
