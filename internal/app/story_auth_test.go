package app_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

func with(auth posthorn.Auth) func(*posthorn.Subscription) {
	return func(s *posthorn.Subscription) { s.Auth = &auth }
}

func TestStoryAuthHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		auth          posthorn.Auth
		header, value string
	}{
		"Bearer": {posthorn.Auth{Type: posthorn.AuthBearer, Token: "tok_12345678"}, "Authorization", "Bearer tok_12345678"},
		"Basic": {
			posthorn.Auth{Type: posthorn.AuthBasic, Username: "acme", Password: "p:ss wörd"},
			"Authorization",
			"Basic " + base64.StdEncoding.EncodeToString([]byte("acme:p:ss wörd")),
		},
		"APIKey": {posthorn.Auth{Type: posthorn.AuthAPIKey, Header: "x-api-key", Value: "key 12345678"}, "X-Api-Key", "key 12345678"},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop := s.Subscribe("shop", with(c.auth))
			s.Reply(shop, Respond(200).Body("you sent "+c.value))
			// A producer's header does not take its place.
			paid := s.Publish(At(0), "invoice.paid", func(e *posthorn.Event) { e.Headers = map[string]string{c.header: "forged"} })
			s.Want(shop, At(0), Attempt(1), Header(c.header, c.value))
			s.Do(At(time.Second), "look at what was kept", func(n *Node) {
				a := n.Attempts(n.Delivery(paid.Accepted.EventID, shop.ID).ID)
				_, secret, _ := strings.Cut(c.value, " ")
				if a[0].Request[c.header][0] != "••••••" || strings.Contains(string(a[0].Body), secret) {
					t.Errorf("the attempt holds the credential: %v, %s", a[0].Request, a[0].Body)
				}
			})
			s.Run()
		})
	}
}

// tokens is a token endpoint of a story: a subscriber that nothing is published to.
func tokens(s *Story, script ...any) *Subscriber {
	endpoint := s.Subscribe("login", func(s *posthorn.Subscription) { s.EventTypes = []string{"never"} })
	s.Reply(endpoint, script...)
	// Token requests are not signed.
	s.Do(At(0), "expect no signatures", func(*Node) { endpoint.Receiver.VerifyWith(func(http.Header, []byte) error { return nil }) })
	return endpoint
}

func granted(token, rest string) Response {
	return Respond(200).Header("Content-Type", "application/json").Body(`{"access_token":"` + token + `","token_type":"Bearer"` + rest + `}`)
}

func oauthTo(auth posthorn.Auth) func(*posthorn.Subscription) {
	auth.Type, auth.TokenURL = posthorn.AuthOAuth2, "http://login.test/token"
	auth.ClientID, auth.ClientSecret = "client", "client+secret/1"
	return with(auth)
}

// form wants the fields of a token request.
func form(want url.Values) Cond {
	return func(q Request) string {
		if got, err := url.ParseQuery(string(q.Body)); err != nil || got.Encode() != want.Encode() {
			return "the form " + want.Encode()
		}
		return ""
	}
}

var basicClient = "Basic " + base64.StdEncoding.EncodeToString([]byte("client:client%2Bsecret%2F1"))

func TestStoryToken(t *testing.T) {
	s := NewStory(t)
	login := tokens(s, granted("first-token", `,"expires_in":600`), granted("second-token", `,"expires_in":600`))
	shop := s.Subscribe("shop", oauthTo(posthorn.Auth{
		Scopes: []string{"hooks:write", "other"}, Audience: "https://acme.test", Params: map[string]posthorn.SecretText{"resource": "a b"},
	}))
	for _, at := range []time.Duration{0, time.Minute, 8 * time.Minute, 9*time.Minute + time.Second} {
		s.Publish(At(at), "invoice.paid")
	}
	s.Want(login, At(0), Header("Authorization", basicClient), Header("Content-Type", "application/x-www-form-urlencoded"), form(url.Values{
		"grant_type": {"client_credentials"}, "scope": {"hooks:write other"}, "audience": {"https://acme.test"}, "resource": {"a b"},
	}))
	s.Want(shop, At(0), Header("Authorization", "Bearer first-token"))
	s.Want(shop, At(time.Minute), Header("Authorization", "Bearer first-token"))
	s.Want(shop, At(8*time.Minute), Header("Authorization", "Bearer first-token"))
	// Renewed a minute before its end.
	s.Want(login, At(9*time.Minute+time.Second))
	s.Want(shop, At(9*time.Minute+time.Second), Header("Authorization", "Bearer second-token"))
	s.Run()
}

func TestStoryTokenInTheBody(t *testing.T) {
	s := NewStory(t)
	login := tokens(s, granted("first-token", ``))
	shop := s.Subscribe("shop", oauthTo(posthorn.Auth{Style: posthorn.StyleBody}))
	s.Publish(At(0), "invoice.paid")
	s.Want(login, At(0), form(url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"client+secret/1"},
	}))
	s.Want(shop, At(0), Header("Authorization", "Bearer first-token"))
	s.Run()
}

// TestStoryTokenOneFlight: a burst waits for one token; other credentials begin anew.
func TestStoryTokenOneFlight(t *testing.T) {
	s := NewStory(t)
	login := tokens(s, granted("first-token", `,"expires_in":"3600"`).After(3*time.Second))
	shop := s.Subscribe("shop", oauthTo(posthorn.Auth{}))
	for range 8 {
		s.Publish(At(0), "invoice.paid")
		s.Want(shop, At(3*time.Second), Header("Authorization", "Bearer first-token"))
	}
	s.Want(login, At(0))
	s.ReplyFrom(At(time.Minute), login, granted("other-token", ``))
	s.Do(At(time.Minute), "change the scopes", func(n *Node) {
		n.Update(shop.ID, func(s *posthorn.Subscription) {
			changed := *s.Auth
			changed.Scopes = []string{"more"}
			s.Auth = &changed
		})
	})
	s.Publish(At(2*time.Minute), "invoice.paid")
	s.Want(login, At(2*time.Minute), form(url.Values{"grant_type": {"client_credentials"}, "scope": {"more"}}))
	s.Want(shop, At(2*time.Minute), Header("Authorization", "Bearer other-token"))
	s.Run()
}

// TestStoryTokenRefusedByTheReceiver: a 401 renews the token once, and the same attempt tries again once.
func TestStoryTokenRefusedByTheReceiver(t *testing.T) {
	s := NewStory(t)
	login := tokens(s, granted("first-token", ``), granted("second-token", ``), granted("third-token", ``))
	shop := s.Subscribe("shop", oauthTo(posthorn.Auth{}), schedule(60))
	s.Reply(shop, 401, 200, 401, Respond(401).Body("second-token and third-token"))
	first := s.Publish(At(0), "invoice.paid")
	second := s.Publish(At(10*time.Second), "invoice.paid")
	s.Want(login, At(0))
	s.Want(login, At(0))
	s.Want(shop, At(0), Of(first), Attempt(1), Header("Authorization", "Bearer first-token"))
	s.Want(shop, At(0), Of(first), Attempt(1), Header("Authorization", "Bearer second-token"))
	s.Want(shop, At(10*time.Second), Of(second), Attempt(1), Header("Authorization", "Bearer second-token"))
	s.Want(login, At(10*time.Second))
	s.Want(shop, At(10*time.Second), Of(second), Attempt(1), Header("Authorization", "Bearer third-token"))
	s.WantState(At(20*time.Second), first, shop, posthorn.Delivered)
	s.Do(At(20*time.Second), "look at what was kept", func(n *Node) {
		a := n.Attempts(n.Delivery(second.Accepted.EventID, shop.ID).ID)
		if len(a) != 1 || a[0].StatusCode != 401 || strings.Contains(string(a[0].Body), "token") && !strings.Contains(string(a[0].Body), "••••••") {
			t.Errorf("the attempts are %+v", a)
		}
		if strings.Contains(string(a[0].Body), "second-token") || strings.Contains(string(a[0].Body), "third-token") {
			t.Errorf("the attempt holds a token: %s", a[0].Body)
		}
	})
	s.Run()
}

// TestStoryTokenEndpointFails: what a token endpoint does wrong is an outcome with its reason, and a retry as ever.
func TestStoryTokenEndpointFails(t *testing.T) {
	secretive := `{"error":"invalid_client","error_description":"client+secret/1 is wrong"}`
	for name, c := range map[string]struct {
		reply   any
		outcome posthorn.Outcome
		code    string
		detail  string
		within  time.Duration
	}{
		"Hangs":         {Hang(), posthorn.Timeout, "token_response_timeout", "the token endpoint did not answer within", 15 * time.Second},
		"Redirects":     {Respond(302).Header("Location", "http://login.test/else"), posthorn.HTTPError, "token_status", "status 302; redirects are not followed", 0},
		"Gigabyte":      {Respond(200).Big(1 << 30), posthorn.InvalidResponse, "token_invalid", "larger than 16 KiB", 0},
		"NotJSON":       {Respond(200).Body("<html>client+secret/1</html>"), posthorn.InvalidResponse, "token_invalid", "not a JSON object", 0},
		"TwoObjects":    {Respond(200).Body(`{"access_token":"a"}{"access_token":"b"}`), posthorn.InvalidResponse, "token_invalid", "not a JSON object", 0},
		"NoToken":       {Respond(200).Body(`{"token_type":"Bearer"}`), posthorn.InvalidResponse, "token_invalid", "no access_token", 0},
		"TokenNoText":   {Respond(200).Body(`{"access_token":12,"token_type":"Bearer"}`), posthorn.InvalidResponse, "token_invalid", "no access_token", 0},
		"LineBreak":     {Respond(200).Body(`{"access_token":"a\r\nX-Evil: 1","token_type":"Bearer"}`), posthorn.InvalidResponse, "token_invalid", "visible ASCII", 0},
		"TooLong":       {Respond(200).Body(`{"access_token":"` + strings.Repeat("a", 9000) + `"}`), posthorn.InvalidResponse, "token_invalid", "visible ASCII", 0},
		"OtherType":     {Respond(200).Body(`{"access_token":"abc","token_type":"mac"}`), posthorn.InvalidResponse, "token_invalid", "not Bearer", 0},
		"TypeNoText":    {Respond(200).Body(`{"access_token":"abc","token_type":[]}`), posthorn.InvalidResponse, "token_invalid", "not Bearer", 0},
		"BadClient":     {Respond(401).Body(secretive), posthorn.HTTPError, "token_status", "status 401 (invalid_client): check client_id", 0},
		"Gone":          {Respond(410), posthorn.HTTPError, "token_status", "status 410", 0},
		"Limited":       {Respond(429).Header("Retry-After", "3600"), posthorn.HTTPError, "token_status", "status 429", 0},
		"StrangeError":  {Respond(400).Body(`{"error":"client+secret/1"}`), posthorn.HTTPError, "token_status", "status 400.", 0},
		"ErrorNoText":   {Respond(500).Body(`{"error":{"a":1}}`), posthorn.HTTPError, "token_status", "status 500.", 0},
		"Drops":         {Drop(), posthorn.ConnectError, "token_connection_closed", "the token endpoint closed the connection", 0},
		"NotHTTP":       {RawClose("SSH-2.0\r\n\r\n"), posthorn.InvalidResponse, "token_malformed_response", "the token endpoint's answer is not valid HTTP", 0},
		"DripsForever":  {Respond(200).Body(strings.Repeat("a", 1000)).Drip(time.Second), posthorn.Timeout, "token_response_timeout", "did not answer", 15 * time.Second},
		"EndlessHeader": {Endless("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("a", 8000)+"\r\n", time.Millisecond), posthorn.InvalidResponse, "token_headers_too_large", "64 KiB", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			login := tokens(s, c.reply)
			s.ReplyFrom(At(30*time.Second), login, granted("first-token", ``))
			shop := s.Subscribe("shop", oauthTo(posthorn.Auth{}), schedule(60))
			paid := s.Publish(At(0), "invoice.paid")
			s.Want(shop, Between(48*time.Second, 90*time.Second), Attempt(2), Header("Authorization", "Bearer first-token"))
			s.WantStatus(At(20*time.Second), shop, posthorn.StatusActive)
			s.Do(At(20*time.Second), "look at the attempt", func(n *Node) {
				if login.Receiver.Count() != 1 {
					t.Errorf("%d token requests for one attempt", login.Receiver.Count())
				}
				a := n.Attempts(n.Delivery(paid.Accepted.EventID, shop.ID).ID)
				if len(a) != 1 || a[0].Outcome != c.outcome || a[0].Error != c.code || !strings.Contains(a[0].Detail, c.detail) || a[0].OurFault {
					t.Fatalf("the attempts are %+v, want %s %s %q", a, c.outcome, c.code, c.detail)
				}
				if a[0].StatusCode != 0 || len(a[0].Body) != 0 || strings.Contains(a[0].Detail, "secret/1") || a[0].Timing.Total > c.within+100*time.Millisecond {
					t.Errorf("the attempt is %+v", a[0])
				}
			})
			s.Run()
		})
	}
}

// TestStoryTokenLifetimes: whatever a token says of its life, deliveries go out and the endpoint is not asked for each.
func TestStoryTokenLifetimes(t *testing.T) {
	for name, c := range map[string]struct {
		expires string
		asked   int
	}{
		"Zero":      {`0`, 3},
		"Negative":  {`-5`, 3},
		"Huge":      {`1e300`, 1},
		"TooHuge":   {`1e999`, 1},
		"Unknown":   {`null`, 2},
		"Words":     {`"soon"`, 3},
		"Object":    {`{}`, 3},
		"InAMinute": {`"60"`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			login := tokens(s, granted("some-token", `,"expires_in":`+c.expires))
			shop := s.Subscribe("shop", oauthTo(posthorn.Auth{}))
			for _, at := range []time.Duration{0, time.Second, 2 * time.Second, 2 * time.Minute, 10 * time.Minute} {
				s.Publish(At(at), "invoice.paid")
				s.Want(shop, At(at), Attempt(1), Header("Authorization", "Bearer some-token"))
			}
			s.Do(At(20*time.Minute), "count the token requests", func(*Node) {
				if n := login.Receiver.Count(); n != c.asked {
					t.Errorf("%d token requests, want %d", n, c.asked)
				}
			})
			s.Run()
		})
	}
}

// TestStoryTokenRenewalFails: while the old token serves, a failing token endpoint delays nothing but the one that asks.
func TestStoryTokenRenewalFails(t *testing.T) {
	s := NewStory(t)
	login := tokens(s, granted("first-token", `,"expires_in":600`), Hang())
	shop := s.Subscribe("shop", oauthTo(posthorn.Auth{}))
	s.Publish(At(0), "invoice.paid")
	s.Want(shop, At(0), Header("Authorization", "Bearer first-token"))
	const late = 9*time.Minute + time.Second
	asks := s.Publish(At(late), "invoice.paid")
	beside := s.Publish(At(late+time.Second), "invoice.paid")
	after := s.Publish(At(late+6*time.Second), "invoice.paid")
	s.Want(shop, At(late+time.Second), Of(beside), Header("Authorization", "Bearer first-token"))
	s.Want(shop, At(late+5*time.Second), Of(asks), Header("Authorization", "Bearer first-token"))
	s.Want(shop, At(late+6*time.Second), Of(after), Header("Authorization", "Bearer first-token"))
	s.Want(login, At(0))
	s.Want(login, At(late))
	s.Run()
}
