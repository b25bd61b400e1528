package signing

import (
	"maps"

	"github.com/posthorn/posthorn"
)

// presets sign as known senders do, so that a receiver of theirs verifies with the library it has. Sources: the senders'
// documents on verifying webhooks.
var presets = map[string]posthorn.SignatureProfile{
	"github": {
		Header: "X-Hub-Signature-256", Algorithm: algorithmSHA256, Key: keyText, Signed: "{body}", Encoding: encodingHex,
		Value: "sha256={signature}", Headers: map[string]string{"X-GitHub-Delivery": "{id}", "X-GitHub-Event": "{type}"},
	},
	"shopify": {
		Header: "X-Shopify-Hmac-Sha256", Algorithm: algorithmSHA256, Key: keyText, Signed: "{body}", Encoding: encodingBase64,
		Value: "{signature}", Headers: map[string]string{"X-Shopify-Webhook-Id": "{id}", "X-Shopify-Topic": "{type}"},
	},
	"slack": {
		Header: "X-Slack-Signature", Algorithm: algorithmSHA256, Key: keyText, Signed: "v0:{timestamp}:{body}", Encoding: encodingHex,
		Value: "v0={signature}", Headers: map[string]string{"X-Slack-Request-Timestamp": "{timestamp}"},
	},
	"stripe": {
		Header: "Stripe-Signature", Algorithm: algorithmSHA256, Key: keyText, Signed: "{timestamp}.{body}", Encoding: encodingHex,
		Value: "t={timestamp},v1={signature}", Repeat: ",v1={signature}",
	},
	"svix": {
		Header: "svix-signature", Algorithm: algorithmSHA256, Key: keyDecoded, Signed: "{id}.{timestamp}.{body}", Encoding: encodingBase64,
		Value: "v1,{signature}", Repeat: " v1,{signature}", Headers: map[string]string{"svix-id": "{id}", "svix-timestamp": "{timestamp}"},
	},
}

// custom is what a profile of one's own has where it says nothing else.
var custom = posthorn.SignatureProfile{Algorithm: algorithmSHA256, Key: keyText, Encoding: encodingHex, Value: "{signature}"}

// Expand spells a profile out: what it leaves empty is as in its preset, or in custom.
func Expand(s posthorn.SignatureProfile) posthorn.SignatureProfile {
	if s.Profile == "" {
		s.Profile = posthorn.ProfileCustom
	}
	from, ok := presets[s.Profile]
	if !ok {
		from = custom
	}
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&s.Header, from.Header},
		{&s.Algorithm, from.Algorithm},
		{&s.Key, from.Key},
		{&s.Signed, from.Signed},
		{&s.Encoding, from.Encoding},
		{&s.Value, from.Value},
	} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	if s.Repeat == "" && s.Value == from.Value {
		s.Repeat = from.Repeat
	}
	if s.Headers == nil {
		s.Headers = maps.Clone(from.Headers)
	}
	return s
}
