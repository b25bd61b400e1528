package posthorn_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/bubble"
)

func TestTransitionTable(t *testing.T) {
	states := []posthorn.State{posthorn.Pending, posthorn.Delivered, posthorn.Exhausted, posthorn.Cancelled}
	triggers := []posthorn.Trigger{
		posthorn.OnSuccess, posthorn.OnFailure, posthorn.OnExhaust, posthorn.OnRetry, posthorn.OnCancel, posthorn.OnWithdraw,
	}
	for _, s := range states {
		for _, on := range triggers {
			to, ok := s.Next(on)
			row := slices.IndexFunc(posthorn.Transitions, func(r posthorn.Transition) bool { return r.From == s && r.On == on })
			if ok != (row >= 0) || ok && to != posthorn.Transitions[row].To || !ok && to != s {
				t.Errorf("%s on %q: %s, %v", s, on, to, ok)
			}
		}
	}
	if _, ok := posthorn.Delivered.Next(posthorn.OnRetry); ok {
		t.Error("a succeeded delivery can be retried")
	}
}

func TestDeriveStatus(t *testing.T) {
	const p, s, x, c = posthorn.Pending, posthorn.Delivered, posthorn.Exhausted, posthorn.Cancelled
	for _, test := range []struct {
		latest []posthorn.State
		want   posthorn.EventStatus
	}{
		{nil, posthorn.EventUnmatched},
		{[]posthorn.State{s, p, x}, posthorn.EventPending},
		{[]posthorn.State{s, s}, posthorn.EventSucceeded},
		{[]posthorn.State{x, c}, posthorn.EventFailed},
		{[]posthorn.State{s, x}, posthorn.EventPartial},
	} {
		if got := posthorn.DeriveStatus(test.latest); got != test.want {
			t.Errorf("DeriveStatus(%v) = %s, want %s", test.latest, got, test.want)
		}
	}
}

func TestMatchesType(t *testing.T) {
	for _, test := range []struct {
		patterns []string
		kind     string
		want     bool
	}{
		{nil, "order.created", true},
		{[]string{"*"}, "order.created", true},
		{nil, "posthorn.test", false},
		{[]string{"*"}, "posthorn.test", false},
		{[]string{"posthorn.*"}, "posthorn.subscription.failing", true},
		{[]string{"order.*"}, "order.created", true},
		{[]string{"order.*"}, "order.line.added", true},
		{[]string{"order.*"}, "order", false},
		{[]string{"order.*"}, "orders.created", false},
		{[]string{"order.created"}, "order.created", true},
		{[]string{"order.created"}, "order.created.late", false},
		{[]string{"invoice.*", "order.created"}, "order.created", true},
	} {
		if got := posthorn.MatchesType(test.patterns, test.kind); got != test.want {
			t.Errorf("MatchesType(%v, %q) = %v", test.patterns, test.kind, got)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	for _, good := range []string{"*", "a", "a.b", "a.*", "A-1_x.y.*"} {
		if fault := posthorn.CheckPattern(good); fault != "" {
			t.Errorf("%q: %s", good, fault)
		}
	}
	for _, bad := range []string{"", ".", "a.", ".a", "a..b", "a*", "*.a", "a.*.b", "a b", "ordеr", "a\n", "**"} {
		if posthorn.CheckPattern(bad) == "" {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestDefaultRetryPolicy(t *testing.T) {
	p := posthorn.DefaultRetryPolicy()
	if p.Budget() != 10 {
		t.Errorf("budget %d, want 10", p.Budget())
	}
	if p.Delay(1) != 5*time.Second || p.Delay(9) != 16*time.Hour || p.Delay(99) != 16*time.Hour {
		t.Errorf("delays %s, %s, %s", p.Delay(1), p.Delay(9), p.Delay(99))
	}
	if p.Span() >= 72*time.Hour || p.Span() < 47*time.Hour {
		t.Errorf("span %s does not fit the default retention", p.Span())
	}
}

func TestExponentialRetryPolicy(t *testing.T) {
	p := posthorn.RetryPolicy{Initial: 5, Multiplier: 4, Maximum: 100, Attempts: 5}
	for n, want := range []time.Duration{5, 20, 80, 100} {
		if got := p.Delay(n + 1); got != want*time.Second {
			t.Errorf("delay after attempt %d is %s, want %s", n+1, got, want*time.Second)
		}
	}
}

func TestIDsKeepTimeOrderAndSpelling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, 1<<47).Draw(t, "ms")
		at := time.UnixMilli(ms)
		id := posthorn.EventID{UUID: posthorn.NewUUID(at)}
		later := posthorn.EventID{UUID: posthorn.NewUUID(at.Add(time.Millisecond))}
		if id.String() >= later.String() {
			t.Fatalf("%s does not sort before %s", id, later)
		}
		if !id.Time().Equal(at) {
			t.Fatalf("time %s, want %s", id.Time(), at)
		}
		var back posthorn.EventID
		if err := back.UnmarshalText([]byte(id.String())); err != nil || back != id {
			t.Fatalf("%s reads back as %s, %v", id, back, err)
		}
	})
}

func TestIDsHaveOneSpelling(t *testing.T) {
	id := posthorn.SubscriptionID{UUID: posthorn.NewUUID(time.Now())}.String()
	for _, bad := range []string{"evt" + id[3:], id + "0", id[:len(id)-1], "sub_8" + id[5:], "SUB_" + id[4:], id[:10] + "U" + id[11:], "sub_"} {
		var back posthorn.SubscriptionID
		if back.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestWindowDoesNotRunWhileHeld(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		created := time.Now()
		d := posthorn.Delivery{CreatedAt: created}
		lane := posthorn.Lane{HeldFor: 10 * time.Hour, HeldSince: created.Add(20 * time.Hour)}
		now := created.Add(25 * time.Hour)
		if got, want := d.WindowEnd(&lane, 72*time.Hour, now), created.Add((72+10+5)*time.Hour); !got.Equal(want) {
			t.Errorf("window ends %s, want %s", got, want)
		}
	})
}

func TestHeaderNamesThatCannotBeSent(t *testing.T) {
	for _, name := range []string{
		"Host", "Webhook-Signature", "webhook-id", "Connection", "Proxy-Authenticate", "Metadata-Flavor",
		"X-aws-ec2-metadata-token", "Content-Type", "Trailer", "", "a b", "X-A\r\nX-B", "Transfer-Encoding", "Cookie",
		"Proxy", "Proxy-Connection", "X-aliyun-ecs-metadata-token", "X-aliyun-ecs-metadata-token-ttl-seconds", "X-Metadata-Token",
		"Metadata-Token", "Metadata-Token-Expiry-Seconds", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Server", "X-Original-URL",
		"X-Rewrite-URL",
	} {
		if posthorn.CheckHeaderName(name) == "" {
			t.Errorf("%q is accepted", name)
		}
	}
	for _, name := range []string{"Authorization", "X-Api-Key", "X-Custom", "X-Metadata", "X-Original"} {
		if fault := posthorn.CheckHeaderName(name); fault != "" {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

func TestHeadersAppendJSON(t *testing.T) {
	for _, h := range []posthorn.Headers{
		nil,
		{},
		{"A": {}},
		{"B": {"1", "2", ""}, "A": {"x"}},
		{"X": {"\"quoted\" \\ <b>&amp;</b>", "tab\tline\n\x00\x7f", "Zoë \u2028 ��", string([]byte{'a', 0xff})}, "b\"c": {"1"}},
	} {
		want, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.AppendJSON([]byte("before ")); string(got) != "before "+string(want) {
			t.Errorf("got  %s\nwant before %s", got, want)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32", "203.0.113.7/24": "203.0.113.0/24", "2001:db8::1": "2001:db8::1/128",
		"::ffff:203.0.113.7": "203.0.113.7/32", "::ffff:203.0.113.7/120": "203.0.113.0/24", "::/0": "::/0",
		"fe80::1%eth0": "", "203.0.113": "", "": "", "::ffff:203.0.113.7/129": "",
	} {
		p, err := posthorn.ParseNetwork(text)
		if err == nil && p.String() != want || err != nil && want != "" {
			t.Errorf("%q is %v, %v; want %q", text, p, err, want)
		}
	}
}

// TestBinding holds the text that stored secrets were sealed under.
func TestBinding(t *testing.T) {
	tenant := posthorn.TenantID{UUID: posthorn.UUID{0: 1, 15: 1}}
	for want, got := range map[string]string{
		"tnt_01000000000000000000000001/sub_01000000000000000000000002/confidential": (&posthorn.Subscription{TenantID: tenant, ID: posthorn.SubscriptionID{UUID: posthorn.UUID{0: 1, 15: 2}}}).Binding(),
		"tnt_01000000000000000000000001/src_01000000000000000000000003/secrets":      (&posthorn.Source{TenantID: tenant, ID: posthorn.SourceID{UUID: posthorn.UUID{0: 1, 15: 3}}}).Binding(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
