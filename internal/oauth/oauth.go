// Package oauth gets the access tokens that subscriptions with OAuth 2 client credentials send (RFC 6749, section 4.4). It
// owns the token request, what its answer means, and the tokens: kept in memory, one per subscription and credentials,
// renewed before they expire, by one request at a time. It leaves to others which addresses may be reached (egress), the
// request the token is for, and what its failure means for a delivery (delivery).
package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
)

const (
	// maxTokens bounds the tokens kept; those that expired go first.
	maxTokens = 16384
	// unknownLife is for a token that does not say how long it lives, maxLife for one that says too much.
	// shortLife for one that has expired already by what it says: some say 0 and mean nothing by it.
	unknownLife, maxLife, shortLife = 5 * time.Minute, 24 * time.Hour, 10 * time.Second
	// renewBefore is how long before its end a token is renewed; of a short life, a fifth.
	renewBefore = time.Minute
	// renewTimeout bounds a renewal while the old token still serves, renewPause is the wait after one that failed.
	renewTimeout, renewPause = 5 * time.Second, 10 * time.Second
	// failurePause is how long a failure answers for the token endpoint, so that a full lane does not ask it in a row.
	failurePause = time.Second
)

// Client makes the token request.
type Client interface {
	Do(ctx context.Context, r egress.Request) egress.Result
}

// Grant is what a token is asked for with. It is never changed.
type Grant struct {
	subscription posthorn.SubscriptionID
	// credentials is a hash of all that makes the request: a token serves the credentials it was got with only.
	credentials [sha256.Size]byte
	url         *egress.URL
	header      http.Header
	body        []byte
	identity    *egress.Identity
	texts       []string
}

// NewGrant makes the grant of a validated authentication.
func NewGrant(id posthorn.SubscriptionID, a *posthorn.Auth, identity *egress.Identity) (*Grant, error) {
	u, err := egress.ParseURL(a.TokenURL)
	if err != nil {
		return nil, fmt.Errorf("token url of %s: %w", id, err)
	}
	g := &Grant{subscription: id, url: u, identity: identity, texts: []string{string(a.ClientSecret)}}
	g.header = http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}, "User-Agent": {"Posthorn"},
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, value := range a.Params {
		form.Set(name, string(value))
	}
	if len(a.Scopes) > 0 {
		form.Set("scope", strings.Join(a.Scopes, " "))
	}
	if a.Audience != "" {
		form.Set("audience", a.Audience)
	}
	if a.Style == posthorn.StyleBody {
		form.Set("client_id", a.ClientID)
		form.Set("client_secret", string(a.ClientSecret))
	} else {
		// Both are form-encoded first (RFC 6749, section 2.3.1).
		pair := url.QueryEscape(a.ClientID) + ":" + url.QueryEscape(string(a.ClientSecret))
		credential := base64.StdEncoding.EncodeToString([]byte(pair))
		g.header["Authorization"] = []string{"Basic " + credential}
		g.texts = append(g.texts, credential)
	}
	g.body = []byte(form.Encode())
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s", a.TokenURL, g.header["Authorization"], g.body)
	h.Sum(g.credentials[:0])
	return g, nil
}

// Host is the token endpoint's.
func (g *Grant) Host() string { return g.url.Host }

// Confidential are the texts that must not be shown.
func (g *Grant) Confidential() []string { return g.texts }

// Tokens are the tokens of all subscriptions; safe for concurrent use.
type Tokens struct {
	client Client
	mu     sync.Mutex
	kept   map[posthorn.SubscriptionID]*kept
}

// kept is what is known of one subscription's token. Its fields are guarded by Tokens.
type kept struct {
	credentials [sha256.Size]byte
	token       string
	// renew and expires are when the token should, and must not be used any longer.
	renew, expires time.Time
	// asking is there while a request is under way, and closed when it has ended.
	asking chan struct{}
	// failure is the last one and stands until failedUntil.
	failure     *egress.Result
	failedUntil time.Time
}

// New makes an empty keeper of tokens.
func New(client Client) *Tokens {
	return &Tokens{client: client, kept: make(map[posthorn.SubscriptionID]*kept)}
}

// Get gives a token that is valid now, asking for one within the timeout where there is none. Without one it says what
// became of the request, in words about the token endpoint: an outcome of the attempt that needed it, without a status.
func (t *Tokens) Get(ctx context.Context, g *Grant, timeout time.Duration) (string, *egress.Result) {
	return t.get(ctx, g, timeout, "")
}

// Renew is Get for a token that the receiver has refused: another one, unless it was replaced already.
func (t *Tokens) Renew(ctx context.Context, g *Grant, timeout time.Duration, refused string) (string, *egress.Result) {
	return t.get(ctx, g, timeout, refused)
}

func (t *Tokens) get(ctx context.Context, g *Grant, timeout time.Duration, refused string) (string, *egress.Result) {
	deadline := time.Now().Add(timeout)
	for {
		t.mu.Lock()
		k := t.of(g)
		now := time.Now()
		if k.token == refused {
			k.token = ""
		}
		serves := k.token != "" && now.Before(k.expires)
		switch {
		case serves && (now.Before(k.renew) || k.asking != nil):
			token := k.token
			t.mu.Unlock()
			return token, nil
		case k.asking != nil:
			asking := k.asking
			t.mu.Unlock()
			if failure := await(ctx, asking, time.Until(deadline)); failure != nil {
				return "", failure
			}
		case !serves && k.failure != nil && now.Before(k.failedUntil):
			failure := *k.failure
			t.mu.Unlock()
			return "", &failure
		default:
			k.asking = make(chan struct{})
			t.mu.Unlock()
			left := time.Until(deadline)
			if serves {
				left = min(left, renewTimeout)
			}
			return t.ask(ctx, g, k, left)
		}
	}
}

// of gives what is kept for a grant. Other credentials than those of the grant before begin anew.
func (t *Tokens) of(g *Grant) *kept {
	if k := t.kept[g.subscription]; k != nil && k.credentials == g.credentials {
		return k
	}
	if len(t.kept) >= maxTokens {
		t.forget()
	}
	k := &kept{credentials: g.credentials}
	t.kept[g.subscription] = k
	return k
}

// forget makes room: first by what has expired, else by anything.
func (t *Tokens) forget() {
	now := time.Now()
	for id, k := range t.kept {
		if k.asking == nil && !now.Before(k.expires) {
			delete(t.kept, id)
		}
	}
	for id := range t.kept {
		if len(t.kept) < maxTokens {
			return
		}
		delete(t.kept, id)
	}
}

// await waits for another's request, or says that there was no time for it.
func await(ctx context.Context, asking <-chan struct{}, left time.Duration) *egress.Result {
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-asking:
		return nil
	case <-timer.C:
		return &egress.Result{
			Outcome: posthorn.Timeout, Code: "token_timeout", Detail: "No access token: the token endpoint did not answer in time.",
		}
	case <-ctx.Done():
		return &egress.Result{
			Outcome: posthorn.Interrupted, Code: "interrupted", OurFault: true, Detail: "The node stopped while the request was under way.",
		}
	}
}

// ask makes the request that others wait for. A renewal that fails leaves the token that still serves.
func (t *Tokens) ask(ctx context.Context, g *Grant, k *kept, left time.Duration) (string, *egress.Result) {
	asked := time.Now()
	answer := t.client.Do(ctx, egress.Request{
		URL: g.url, Header: g.header.Clone(), Body: g.body, Timeout: max(left, time.Millisecond), Identity: g.identity,
	})
	token, life, failure := read(&answer)
	t.mu.Lock()
	defer t.mu.Unlock()
	close(k.asking)
	k.asking = nil
	now := time.Now()
	if failure == nil {
		k.token, k.failure = token, nil
		k.expires = asked.Add(life)
		k.renew = k.expires.Add(-min(renewBefore, life/5))
		return token, nil
	}
	if k.token != "" && now.Before(k.expires) {
		k.renew = now.Add(renewPause)
		return k.token, nil
	}
	k.token = ""
	if failure.Outcome != posthorn.Interrupted {
		k.failure, k.failedUntil = failure, now.Add(failurePause)
	}
	return "", failure
}
