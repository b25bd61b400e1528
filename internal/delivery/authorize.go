package delivery

import (
	"encoding/base64"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/oauth"
)

// credentials are a subscription's authentication made ready: a header with a fixed value, or the grant that its value is
// got with. The zero value is none.
type credentials struct {
	header, value string
	grant         *oauth.Grant
	identity      *egress.Identity
}

// newCredentials reads what was validated when it was written, and gives the texts that must not be stored.
func newCredentials(sub *posthorn.Subscription) (c credentials, confidential []string, err error) {
	if sub.TLS != nil {
		if c.identity, err = egress.ParseIdentity(sub.TLS); err != nil {
			return c, nil, err
		}
	}
	a := sub.Auth
	if a == nil {
		return c, nil, nil
	}
	c.header = http.CanonicalHeaderKey(a.HeaderName())
	switch a.Type {
	case posthorn.AuthBearer:
		c.value = "Bearer " + string(a.Token)
		confidential = []string{string(a.Token)}
	case posthorn.AuthBasic:
		pair := base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + string(a.Password)))
		c.value = "Basic " + pair
		confidential = []string{pair, string(a.Password)}
	case posthorn.AuthAPIKey:
		c.value = string(a.Value)
		confidential = []string{c.value}
	case posthorn.AuthOAuth2:
		if c.grant, err = oauth.NewGrant(sub.ID, a, c.identity); err != nil {
			return c, nil, err
		}
		confidential = c.grant.Confidential()
		for _, value := range a.Params {
			confidential = append(confidential, string(value))
		}
	}
	return c, confidential, nil
}

// exchange is what was sent for an attempt, and what came back.
type exchange struct {
	request http.Header
	answer  egress.Result
	// host is the one that answered, or failed to: the token endpoint's where it kept the request from being made.
	host string
	// tokens were sent with it.
	tokens []string
}

// exchange makes the one request of an attempt, within the subscription's one deadline. With a token that the receiver
// refuses it is made once more with another.
func (e *Engine) exchange(it *item, start time.Time, parent string) exchange {
	t := it.target
	if t.grant == nil {
		x := exchange{request: e.request(it, start, parent, t.value), host: t.url.Host}
		x.answer = e.send(it, x.request, t.sub.Timeout)
		return x
	}
	left := func() time.Duration { return t.sub.Timeout - time.Since(start) }
	token, failure := e.tokens.Get(e.sending, t.grant, left())
	if failure != nil {
		failure.Timing.Total = time.Since(start)
		return exchange{answer: *failure, host: t.grant.Host()}
	}
	x := e.exchangeWith(it, token, parent, left())
	if x.answer.StatusCode == http.StatusUnauthorized && left() > 0 {
		if renewed, failure := e.tokens.Renew(e.sending, t.grant, left(), token); failure == nil && renewed != token && left() > 0 {
			x = e.exchangeWith(it, renewed, parent, left())
			x.tokens = append(x.tokens, token)
		}
	}
	x.answer.Timing.Total = time.Since(start)
	return x
}

func (e *Engine) exchangeWith(it *item, token, parent string, left time.Duration) exchange {
	x := exchange{request: e.request(it, time.Now(), parent, "Bearer "+token), host: it.target.url.Host, tokens: []string{token}}
	// A millisecond's request fails by its deadline, and says so.
	x.answer = e.send(it, x.request, max(left, time.Millisecond))
	return x
}

func (e *Engine) send(it *item, request http.Header, timeout time.Duration) egress.Result {
	t := it.target
	return e.opts.Client.Do(e.sending, egress.Request{
		URL: t.url, Header: request, Body: it.Event.Payload, Timeout: timeout, Identity: t.identity,
	})
}
