package delivery

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
)

const testSecret = "whsec_cG9zdGhvcm4tdGVzdC1zZWNyZXQtMDAwMDAwMDA="

// testItem is a claimed delivery of a subscription with a secret and headers of its own.
func testItem(t *testing.T, headers map[string]string) *item {
	t.Helper()
	sub := &posthorn.Subscription{
		Policy:       posthorn.Policy{URL: "https://hooks.acme.net/in"},
		Confidential: posthorn.Confidential{Secrets: []posthorn.Secret{{Value: testSecret}}, Headers: headers},
	}
	target, err := newTarget(sub)
	if err != nil {
		t.Fatal(err)
	}
	event := &posthorn.Event{ContentType: "application/json", Type: "invoice.paid", Payload: []byte("{}")}
	return &item{Claimed: posthorn.Claimed{Event: event, Claim: posthorn.Claim{Number: 3}}, target: target}
}

func TestAttemptHidesSecrets(t *testing.T) {
	it := testItem(t, map[string]string{"Authorization": "Bearer tok_1234567", "X-Short": "abc"})
	e := &Engine{opts: Options{UserAgent: "Posthorn/test"}}
	request := e.request(it, noon, "", "")
	bare := strings.TrimPrefix(testSecret, "whsec_")
	answer := egress.Result{
		Outcome: posthorn.HTTPError, StatusCode: 401,
		Header: http.Header{"X-Echo": {"got Bearer tok_1234567", "fine"}, "X-Token": {"tok_1234567"}},
		Body:   []byte("secret " + testSecret + " or " + bare + ", token tok_1234567, abc"),
	}
	a := newAttempt(it, noon, &exchange{request: request, answer: answer})
	for _, hidden := range []string{"tok_1234567", bare} {
		if bytes.Contains(a.Body, []byte(hidden)) || strings.Contains(a.Response["X-Echo"][0]+a.Response["X-Token"][0], hidden) {
			t.Errorf("%q is in what was kept: %s, %v", hidden, a.Body, a.Response)
		}
		for name, values := range a.Request {
			if strings.Contains(strings.Join(values, ""), hidden) {
				t.Errorf("the request's %s holds %q", name, hidden)
			}
		}
	}
	want(t, "another value of the same header", a.Response["X-Echo"][1], "fine")
	want(t, "the request's own header", a.Request["Authorization"][0], posthorn.Mask)
	if !bytes.HasSuffix(a.Body, []byte(", abc")) {
		t.Errorf("a short text, which is no secret, was masked: %s", a.Body)
	}
	if request["Authorization"][0] != "Bearer tok_1234567" {
		t.Error("the header that is sent was masked")
	}
}

func TestRequestHeaders(t *testing.T) {
	it := testItem(t, map[string]string{"authorization": "Bearer x", "X-Both": "subscription"})
	it.Event.Headers = map[string]string{"X-Event": "1", "x-both": "event"}
	it.Event.ID = posthorn.EventID{UUID: posthorn.NewUUID(noon)}
	e := &Engine{opts: Options{UserAgent: "Posthorn/test"}}
	h := e.request(it, noon, "", "")
	for name, value := range map[string]string{
		"Authorization": "Bearer x", "X-Both": "subscription", "X-Event": "1", "Content-Type": "application/json",
		"User-Agent": "Posthorn/test", "webhook-id": it.Event.ID.String(), "webhook-timestamp": "1795435200",
		"webhook-event-type": "invoice.paid", "webhook-attempt": "3",
	} {
		if len(h[name]) != 1 || h[name][0] != value {
			t.Errorf("%s: %q, want %q alone", name, h[name], value)
		}
	}
	const signature = "webhook-signature" // as it is sent: in lower case
	if !strings.HasPrefix(map[string][]string(h)[signature][0], "v1,") {
		t.Errorf("signature %q", map[string][]string(h)[signature])
	}
}

func TestInterruption(t *testing.T) {
	for name, c := range map[string]struct {
		outcome  posthorn.Outcome
		status   int
		stopping bool
		late     time.Duration
		want     bool
	}{
		"Answered":               {posthorn.HTTPError, 503, false, -time.Second, false},
		"TimedOut":               {posthorn.Timeout, 0, false, 0, false},
		"TimedOutOnABusyMachine": {posthorn.Timeout, 0, false, standstill, false},
		"FrozenMeanwhile":        {posthorn.Timeout, 0, false, standstill + 1, true},
		"FrozenInTheBody":        {posthorn.Timeout, 200, false, time.Hour, true},
		"AnsweredBeforeFreezing": {posthorn.Succeeded, 200, false, time.Hour, false},
		"CutShort":               {posthorn.ConnectError, 0, true, -time.Second, true},
		"AnsweredWhileStopping":  {posthorn.HTTPError, 500, true, -time.Second, false},
		"DeliveredWhileStopping": {posthorn.Succeeded, 200, true, -time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			detail := interruption(&posthorn.Attempt{Outcome: c.outcome, StatusCode: c.status}, c.stopping, c.late)
			want(t, "interrupted", detail != "", c.want)
		})
	}
}

func TestLiveKeys(t *testing.T) {
	rotated, err := newTarget(&posthorn.Subscription{
		Policy: posthorn.Policy{URL: "https://hooks.acme.net/in"},
		Confidential: posthorn.Confidential{Secrets: []posthorn.Secret{
			{Value: testSecret}, {Value: "whsec_b2xkLXNlY3JldC0wMDAwMDAwMDAwMDAwMDAwMDAwMA==", ExpiresAt: noon},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "during the overlap", len(rotated.liveKeys(noon.Add(-time.Second))), 2)
	want(t, "at its end", len(rotated.liveKeys(noon)), 1)
}

func TestNewTargetRefusesWhatCannotBeSent(t *testing.T) {
	for name, sub := range map[string]*posthorn.Subscription{
		"URL":    {Policy: posthorn.Policy{URL: "https://[::1/"}},
		"Secret": {Confidential: posthorn.Confidential{Secrets: []posthorn.Secret{{Value: "short"}}}},
	} {
		_, err := newTarget(sub)
		if err == nil || strings.Contains(err.Error(), "short") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
