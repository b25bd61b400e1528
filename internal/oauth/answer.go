package oauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
)

// maxToken bounds a token, in bytes: longer ones do not pass many servers' headers.
const maxToken = 8 << 10

// read gives the token that an answer holds and how long it lives, or why there is none. Nothing of the answer goes into
// the failure but what is known to be harmless: an endpoint may echo the credentials.
func read(answer *egress.Result) (token string, life time.Duration, failure *egress.Result) {
	if answer.Outcome != posthorn.Succeeded {
		return "", 0, failed(answer)
	}
	if answer.BodyTruncated {
		return "", 0, useless(answer, fmt.Sprintf("its answer is larger than %d KiB", posthorn.KeptBody>>10))
	}
	var body struct {
		Token   any `json:"access_token"`
		Type    any `json:"token_type"`
		Expires any `json:"expires_in"`
	}
	d := json.NewDecoder(bytes.NewReader(answer.Body))
	d.UseNumber()
	if err := d.Decode(&body); err != nil || d.More() {
		return "", 0, useless(answer, "its answer is not a JSON object")
	}
	token, ok := body.Token.(string)
	switch {
	case !ok || token == "":
		return "", 0, useless(answer, "its answer has no access_token")
	case len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", 0, useless(answer, fmt.Sprintf("its access_token is not 1 to %d visible ASCII characters", maxToken))
	}
	// RFC 6749 wants the type; some leave it out and mean this one.
	if kind, ok := body.Type.(string); body.Type != nil && (!ok || !strings.EqualFold(kind, "bearer")) {
		return "", 0, useless(answer, "its token_type is not Bearer")
	}
	return token, lifetime(body.Expires), nil
}

// lifetime reads expires_in: a number of seconds, in quotes with some.
func lifetime(v any) time.Duration {
	var text string
	switch v := v.(type) {
	case nil:
		return unknownLife
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if math.IsInf(seconds, 1) {
		return maxLife
	}
	if err != nil || !(seconds > 0) {
		return shortLife
	}
	return time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second))
}

// errorCodes are those a token endpoint may give (RFC 6749, section 5.2); others are not repeated.
var errorCodes = map[string]string{
	"invalid_request":        "the request lacks something; look at params, scopes and audience",
	"invalid_client":         "check client_id, client_secret and auth_style",
	"invalid_grant":          "check client_id and client_secret",
	"unauthorized_client":    "this client may not use client credentials",
	"unsupported_grant_type": "it does not support client credentials",
	"invalid_scope":          "check scopes",
	"invalid_target":         "check audience and params",
}

// failed says why a token request got no token, in words about the token endpoint.
func failed(answer *egress.Result) *egress.Result {
	f := &egress.Result{Outcome: answer.Outcome, OurFault: answer.OurFault, Timing: answer.Timing, Remote: answer.Remote, Err: answer.Err}
	if answer.Outcome == posthorn.Interrupted {
		f.Code, f.Detail = answer.Code, answer.Detail
		return f
	}
	if answer.StatusCode == 0 {
		f.Code = "token_" + answer.Code
		f.Detail = "No access token: " + strings.NewReplacer(
			"The receiver", "the token endpoint", "the receiver", "the token endpoint", "The request was", "the token request was",
			"The host name", "the host name of the token endpoint", "There is", "there is", "No connection", "no connection",
			"The answer", "the token endpoint's answer", "The node", "the node", "The TLS", "the TLS").Replace(answer.Detail)
		return f
	}
	f.Outcome, f.Code = posthorn.HTTPError, "token_status"
	f.Detail = fmt.Sprintf("No access token: the token endpoint answered with status %d", answer.StatusCode)
	var body struct {
		Error string `json:"error"`
	}
	// An error that is no text leaves it empty.
	_ = json.Unmarshal(answer.Body, &body)
	switch advice, known := errorCodes[body.Error]; {
	case known:
		f.Detail += " (" + body.Error + "): " + advice + "."
	case answer.StatusCode >= 300 && answer.StatusCode <= 399:
		f.Detail += "; redirects are not followed."
	case answer.StatusCode == http.StatusUnauthorized:
		f.Detail += ": check client_id, client_secret and auth_style."
	default:
		f.Detail += "."
	}
	return f
}

func useless(answer *egress.Result, why string) *egress.Result {
	return &egress.Result{
		Outcome: posthorn.InvalidResponse, Code: "token_invalid", Timing: answer.Timing, Remote: answer.Remote,
		Detail: "No access token: the token endpoint answered, but " + why + ".",
	}
}
