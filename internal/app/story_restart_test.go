package app_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func keyed(key string) func(*posthorn.Event) {
	return func(e *posthorn.Event) { e.IdempotencyKey = key }
}

func TestStoryIdempotencyAcrossRestarts(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	first := s.Publish(At(0), "invoice.paid", keyed("order-1"))
	again := s.Publish(At(time.Second), "invoice.paid", keyed("order-1"))
	s.Restart(At(time.Minute))
	after := s.Publish(At(2*time.Minute), "invoice.paid", keyed("order-1"))
	s.Crash(At(3 * time.Minute))
	atLast := s.Publish(At(4*time.Minute), "invoice.paid", keyed("order-1"))
	s.Do(At(5*time.Minute), "publish other content", func(n *Node) {
		_, err := n.Publisher.Publish(context.Background(), n.Tenant, &posthorn.Event{Type: "invoice.paid", Payload: []byte(`"other"`), IdempotencyKey: "order-1"})
		if posthorn.KindOf(err) != posthorn.Conflict {
			t.Errorf("the same key with other content: %v", err)
		}
		for _, p := range []*Published{again, after, atLast} {
			if p.Accepted.EventID != first.Accepted.EventID || !p.Accepted.Duplicate || p.Accepted.Deliveries != 1 ||
				!p.Accepted.CreatedAt.Equal(first.Accepted.CreatedAt) {
				t.Errorf("a repeated publish was answered %+v, the first %+v", p.Accepted, first.Accepted)
			}
		}
	})
	s.Want(shop, At(0), Of(first), Attempt(1))
	s.Run()
}

func TestStoryInterruptedByCrash(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	s.Reply(shop, Status(200).After(10*time.Second), 200)
	paid := s.Publish(At(0), "invoice.paid")
	s.Crash(At(5 * time.Second))
	s.Want(shop, At(0), Of(paid), Attempt(1))
	s.Want(shop, Between(5*time.Second, 10*time.Second), Of(paid), Attempt(2))
	s.WantState(At(time.Minute), paid, shop, posthorn.Delivered)
	s.Do(At(time.Minute), "look at the attempts", func(n *Node) {
		d := n.Delivery(paid.Accepted.EventID, shop.ID)
		a := n.Attempts(d.ID)
		if len(a) != 2 || a[0].Outcome != posthorn.Interrupted || !a[0].OurFault || a[1].Outcome != posthorn.Succeeded {
			t.Errorf("the attempts are %+v", a)
		}
		if d.Spent != 1 {
			t.Errorf("%d attempts of the budget are spent, want 1", d.Spent)
		}
	})
	s.Run()
}

// TestStoryCrashesAgainAndAgain: a delivery that meets a crash each time ends too, after five free interruptions.
func TestStoryCrashesAgainAndAgain(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(1, 1), func(s *posthorn.Subscription) { s.Timeout = time.Minute })
	s.Reply(shop, Hang())
	paid := s.Publish(At(0), "invoice.paid")
	for i := range 10 {
		s.Crash(At(time.Duration(10*i+5) * time.Second))
	}
	s.WantState(At(110*time.Second), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	for i := range 8 {
		s.Want(shop, Between(time.Duration(max(10*i-5, 0))*time.Second, time.Duration(10*i+5)*time.Second), Attempt(i+1))
	}
	s.Run()
}

// TestStoryRetriesSurviveRestarts restarts between the attempts of a schedule.
func TestStoryRetriesSurviveRestarts(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", schedule(600, 600))
	s.Reply(shop, 500)
	paid := s.Publish(At(0), "invoice.paid")
	s.Restart(At(100 * time.Second))
	s.Crash(At(850 * time.Second))
	s.Want(shop, At(0), Attempt(1))
	s.Want(shop, Between(480*time.Second, 720*time.Second), Attempt(2))
	s.Want(shop, Between(960*time.Second, 1440*time.Second), Attempt(3))
	s.WantState(At(time.Hour), paid, shop, posthorn.Exhausted, posthorn.ReasonAttempts)
	s.Run()
}

// TestStoryRotatedSecret verifies with the specification's own library: by both secrets during the overlap, by the new one
// alone afterwards.
func TestStoryRotatedSecret(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop")
	fresh := NewSecret()
	s.Publish(At(0), "invoice.paid")
	s.Do(At(time.Minute), "rotate", func(n *Node) {
		n.Update(shop.ID, func(s *posthorn.Subscription) {
			s.Secrets[0].ExpiresAt = n.Store.Now().Add(24 * time.Hour)
			s.Secrets = append([]posthorn.Secret{{Value: posthorn.SecretText(fresh), CreatedAt: n.Store.Now()}}, s.Secrets...)
		})
	})
	check := func(at time.Duration, signatures int, accepts, refuses []string) {
		s.Publish(At(at), "invoice.paid")
		s.Do(At(at+time.Second), "verify", func(*Node) {
			got := shop.Receiver.Requests()
			last := got[len(got)-1]
			if n := len(strings.Fields(last.Header.Get("webhook-signature"))); n != signatures {
				t.Errorf("%d signatures at %s, want %d", n, at, signatures)
			}
			for _, secret := range accepts {
				if err := ByReference(secret)(last.Header, last.Body); err != nil {
					t.Errorf("at %s: %v", at, err)
				}
			}
			for _, secret := range refuses {
				if ByReference(secret)(last.Header, last.Body) == nil {
					t.Errorf("at %s a secret that does not sign verifies", at)
				}
			}
		})
	}
	s.Do(At(time.Minute), "trust the new secret too", func(*Node) { shop.Receiver.VerifyWith(ByReference(fresh, shop.Secret)) })
	check(2*time.Minute, 2, []string{fresh, shop.Secret}, []string{NewSecret()})
	check(23*time.Hour, 2, []string{fresh, shop.Secret}, nil)
	check(25*time.Hour, 1, []string{fresh}, []string{shop.Secret})
	s.Run()
}

// TestStoryPayloadsAreByteExact sends what a JSON library would change, and what is no JSON at all.
func TestStoryPayloadsAreByteExact(t *testing.T) {
	payloads := map[string]string{
		"spacing":       "{ \"a\" :\t1 ,\r\n\n \"b\":[ ] }  ",
		"big numbers":   `{"id":12345678901234567890123,"f":1.0000000000000000001,"e":1E400,"z":-0.0}`,
		"unicode":       `{"name":"Zoë ☎ \u00e9 \ud83d\ude00","sep":"` + "\u2028" + `"}`,
		"escapes":       `{"a":"\/\u002f<script>&amp;"}`,
		"repeated keys": `{"a":1,"a":2,"A":3}`,
		"deep":          strings.Repeat("[", 200) + strings.Repeat("]", 200),
		"empty":         "",
		"binary":        string([]byte{0, 255, 254, 10, 13, 0}),
		"large":         strings.Repeat("x", 200_000),
	}
	s := NewStory(t)
	shop := s.Subscribe("shop")
	at := time.Duration(0)
	for name, payload := range payloads {
		contentType := "application/json"
		if name == "binary" || name == "large" || name == "empty" {
			contentType = "application/octet-stream"
		}
		p := s.Publish(At(at), "payload.sent", func(e *posthorn.Event) { e.Payload, e.ContentType = []byte(payload), contentType })
		s.Want(shop, At(at), Of(p), Body(payload), Header("Content-Type", contentType))
		at += time.Second
	}
	s.Run()
}

func TestStoryHeadersOfARequest(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) {
		s.Headers = map[string]string{"authorization": "Bearer abc", "X-Env": "test"}
	})
	paid := s.Publish(At(0), "invoice.paid", func(e *posthorn.Event) { e.Headers = map[string]string{"x-source": "billing"} })
	s.Want(shop, At(0), Of(paid), Header("Authorization", "Bearer abc"), Header("X-Env", "test"), Header("X-Source", "billing"),
		Header("Webhook-Event-Type", "invoice.paid"), Header("Webhook-Attempt", "1"), Header("User-Agent", "Posthorn/test"),
		Header("Webhook-Timestamp", "946684800"))
	s.Run()
}

func TestSecretsOfTheStoriesAreStandard(t *testing.T) {
	text, ok := strings.CutPrefix(NewSecret(), "whsec_")
	if key, err := base64.StdEncoding.DecodeString(text); !ok || err != nil || len(key) < 24 {
		t.Errorf("a secret of %d bytes, %v", len(key), err)
	}
}
