package storetest

import (
	"sync"

	"github.com/posthorn/posthorn"
)

func idempotencyTests() group {
	return group{"Idempotency", []test{
		{"SameContent", keySameContent},
		{"OtherContent", keyOtherContent},
		{"InOneBatch", keyInOneBatch},
		{"Concurrent", keyConcurrent},
		{"PerTenant", keyPerTenant},
		{"StaleDoesNotUseIt", keyNotUsedByStale},
		{"OthersPass", keyOthersPass},
	}}
}

// keyed makes an event with an idempotency key, altered by the test.
func (f *Fixture) keyed(key string, change ...func(*posthorn.Event)) *posthorn.Event {
	return f.NewEvent(append([]func(*posthorn.Event){func(e *posthorn.Event) { e.IdempotencyKey = key }}, change...)...)
}

// acceptOne stores one acceptance and gives its answer, error and all.
func (f *Fixture) acceptOne(a posthorn.Acceptance) posthorn.Accepted {
	f.T.Helper()
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{a})
	f.must(err)
	return answers[0]
}

func keySameContent(f *Fixture) {
	first, second := f.Subscribe(), f.Subscribe()
	original := f.keyed("k")
	answer := f.Accept(f.Acceptance(original, first, second))[0]
	again := f.Acceptance(f.keyed("k"), first)
	repeated := f.acceptOne(again)
	f.must(repeated.Err)
	equal(f, "duplicate", repeated.Duplicate, true)
	equal(f, "event id", repeated.EventID, original.ID)
	equal(f, "deliveries", repeated.Deliveries, 2)
	equal(f, "claimed", len(repeated.Claimed), 0)
	if !repeated.CreatedAt.Equal(answer.CreatedAt) {
		f.T.Fatalf("created_at is %s, want the original's %s", repeated.CreatedAt, answer.CreatedAt)
	}
	_, err := f.Store.GetEvent(f.Context(), f.Tenant, again.Event.ID)
	f.wantKind(err, posthorn.NotFound, "get the repeated event")
	_, err = f.Store.GetDelivery(f.Context(), f.Tenant, again.Matches[0].DeliveryID)
	f.wantKind(err, posthorn.NotFound, "get the repeated delivery")
	equal(f, "deliveries to claim", len(f.Claim()), 2)
	used, err := f.Store.UsedKeys(f.Context(), f.Tenant, []string{"k", "another", ""})
	f.must(err)
	equal(f, "keys in use", len(used), 1)
	equal(f, "the key is in use", used["k"], true)
}

func keyOtherContent(f *Fixture) {
	sub := f.Subscribe()
	content := func(e *posthorn.Event) {
		e.Headers = map[string]string{"X-A": "1", "X-B": "2"}
		e.OrderingKey = "o"
	}
	f.PublishEvent(f.keyed("k", content), sub)
	changes := map[string]func(*posthorn.Event){
		"Type":        func(e *posthorn.Event) { e.Type = "invoice.sent" },
		"Payload":     func(e *posthorn.Event) { e.Payload = append(e.Payload, ' ') },
		"ContentType": func(e *posthorn.Event) { e.ContentType = "text/plain" },
		"OrderingKey": func(e *posthorn.Event) { e.OrderingKey = "p" },
		"HeaderValue": func(e *posthorn.Event) { e.Headers["X-A"] = "3" },
		"HeaderName":  func(e *posthorn.Event) { e.Headers["X-C"] = "3" },
		"HeadersJoin": func(e *posthorn.Event) { e.Headers = map[string]string{"X-A": "1X-B2"} },
		"NoHeaders":   func(e *posthorn.Event) { e.Headers = nil },
	}
	for name, change := range changes {
		answer := f.acceptOne(f.Acceptance(f.keyed("k", content, change), sub))
		f.wantRefusal(answer.Err, posthorn.KeyUsed(), name)
	}
	equal(f, "duplicate", f.acceptOne(f.Acceptance(f.keyed("k", content), sub)).Duplicate, true)
	equal(f, "deliveries to claim", len(f.Claim()), 1)
}

func keyInOneBatch(f *Fixture) {
	sub := f.Subscribe()
	first, same := f.keyed("k"), f.keyed("k")
	other := f.keyed("k", func(e *posthorn.Event) { e.Payload = []byte("2") })
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{
		f.Acceptance(first, sub), f.Acceptance(same, sub), f.Acceptance(other, sub), f.Acceptance(f.NewEvent(), sub),
	})
	f.must(err)
	f.must(answers[0].Err)
	equal(f, "first is a duplicate", answers[0].Duplicate, false)
	f.must(answers[1].Err)
	equal(f, "second is a duplicate", answers[1].Duplicate, true)
	equal(f, "second's id", answers[1].EventID, first.ID)
	equal(f, "second's deliveries", answers[1].Deliveries, 1)
	f.wantRefusal(answers[2].Err, posthorn.KeyUsed(), "third")
	f.must(answers[3].Err)
	equal(f, "deliveries to claim", len(f.Claim()), 2)
}

func keyConcurrent(f *Fixture) {
	sub := f.Subscribe()
	const callers = 8
	batches := make([][]posthorn.Acceptance, callers)
	for i := range batches {
		batches[i] = []posthorn.Acceptance{f.Acceptance(f.keyed("a"), sub), f.Acceptance(f.keyed("b"), sub)}
	}
	// Half of them bring the keys in the other order: a store that locks as it reads would deadlock.
	for i := 0; i < callers; i += 2 {
		batches[i][0], batches[i][1] = batches[i][1], batches[i][0]
	}
	answers := make([][]posthorn.Accepted, callers)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { answers[i], errs[i] = f.Store.AcceptEvents(f.Context(), f.Node, batches[i]) })
	}
	wg.Wait()
	originals := map[string]posthorn.EventID{}
	stored := 0
	for i := range callers {
		f.must(errs[i])
		for j, answer := range answers[i] {
			f.must(answer.Err)
			key := batches[i][j].Event.IdempotencyKey
			if original, seen := originals[key]; seen && original != answer.EventID {
				f.T.Fatalf("key %s was answered with %s and with %s", key, original, answer.EventID)
			}
			originals[key] = answer.EventID
			if !answer.Duplicate {
				stored++
			}
		}
	}
	equal(f, "events stored", stored, 2)
	equal(f, "deliveries to claim", len(f.Claim()), 2)
}

func keyPerTenant(f *Fixture) {
	other := f.As(f.NewTenant("other"))
	f.PublishEvent(f.keyed("k"))
	answer := other.acceptOne(other.Acceptance(other.keyed("k")))
	f.must(answer.Err)
	equal(f, "duplicate", answer.Duplicate, false)
}

func keyNotUsedByStale(f *Fixture) {
	sub := f.Subscribe()
	stale := f.Acceptance(f.keyed("k"), sub)
	stale.Version = f.Version() + 1000
	other := f.Acceptance(f.keyed("k", func(e *posthorn.Event) { e.Payload = []byte("2") }), sub)
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{stale, other})
	f.must(err)
	f.wantKind(answers[0].Err, posthorn.Stale, "version")
	f.must(answers[1].Err)
	equal(f, "duplicate", answers[1].Duplicate, false)
}

func keyOthersPass(f *Fixture) {
	sub := f.Subscribe()
	f.PublishEvent(f.keyed("used"), sub)
	answers, err := f.Store.AcceptEvents(f.Context(), f.Node, []posthorn.Acceptance{
		f.Acceptance(f.keyed("one"), sub),
		f.Acceptance(f.keyed("used", func(e *posthorn.Event) { e.Type = "other" }), sub),
		f.Acceptance(f.keyed("used"), sub),
		f.Acceptance(f.keyed("two"), sub),
	})
	f.must(err)
	f.must(answers[0].Err)
	f.wantRefusal(answers[1].Err, posthorn.KeyUsed(), "used key with other content")
	equal(f, "duplicate", answers[2].Duplicate, true)
	f.must(answers[3].Err)
	equal(f, "deliveries to claim", len(f.Claim()), 3)
}
