package signing

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// sum is an HMAC by the standard library alone.
func sum(hash func() hash.Hash, key, message string) []byte {
	h := hmac.New(hash, []byte(key))
	h.Write([]byte(message))
	return h.Sum(nil)
}

func mustText(t *testing.T, texts ...string) []*Key {
	t.Helper()
	var keys []*Key
	for _, text := range texts {
		key, err := ParseText(text)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func mustProfile(t *testing.T, s posthorn.SignatureProfile) *Profile {
	t.Helper()
	s = Expand(s)
	p, err := ParseProfile(&s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProfiles(t *testing.T) {
	const text, old = "It's a Secret to Everybody", "the one before it"
	const standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	decoded, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	payload := string(body)
	const at = "1700000000"
	b64 := base64.StdEncoding.EncodeToString
	cases := map[string]struct {
		profile posthorn.SignatureProfile
		secrets []string
		want    map[string]string
	}{
		"GitHub": {posthorn.SignatureProfile{Profile: "github"}, []string{text, old}, map[string]string{
			"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(sum(sha256.New, text, payload)),
			"X-Github-Delivery":   "evt_1", "X-Github-Event": "invoice.paid",
		}},
		"Stripe": {posthorn.SignatureProfile{Profile: "stripe"}, []string{text}, map[string]string{
			"Stripe-Signature": "t=" + at + ",v1=" + hex.EncodeToString(sum(sha256.New, text, at+"."+payload)),
		}},
		"StripeRotated": {posthorn.SignatureProfile{Profile: "stripe"}, []string{standard, text, old}, map[string]string{
			"Stripe-Signature": "t=" + at + ",v1=" + hex.EncodeToString(sum(sha256.New, standard, at+"."+payload)) +
				",v1=" + hex.EncodeToString(sum(sha256.New, text, at+"."+payload)) + ",v1=" + hex.EncodeToString(sum(sha256.New, old, at+"."+payload)),
		}},
		"Shopify": {posthorn.SignatureProfile{Profile: "shopify"}, []string{text}, map[string]string{
			"X-Shopify-Hmac-Sha256": b64(sum(sha256.New, text, payload)), "X-Shopify-Webhook-Id": "evt_1", "X-Shopify-Topic": "invoice.paid",
		}},
		"Slack": {posthorn.SignatureProfile{Profile: "slack"}, []string{text}, map[string]string{
			"X-Slack-Signature":         "v0=" + hex.EncodeToString(sum(sha256.New, text, "v0:"+at+":"+payload)),
			"X-Slack-Request-Timestamp": at,
		}},
		"Svix": {posthorn.SignatureProfile{Profile: "svix"}, []string{standard}, map[string]string{
			"Svix-Signature": "v1," + b64(sum(sha256.New, string(decoded), "evt_1."+at+"."+payload)), "Svix-Id": "evt_1", "Svix-Timestamp": at,
		}},
		"Custom": {posthorn.SignatureProfile{
			Header: "x-acme-signature", Algorithm: "hmac-sha512", Encoding: "base64", Signed: "{{{id}}}\n{type}\n{body}\n{timestamp}", Value: `id="{id}", s={signature}`,
		}, []string{text}, map[string]string{
			"X-Acme-Signature": `id="evt_1", s=` + b64(sum(sha512.New, text, "{evt_1}\ninvoice.paid\n"+payload+"\n"+at)),
		}},
		"SHA1": {posthorn.SignatureProfile{Header: "X-Old", Algorithm: "hmac-sha1", Signed: "{body}"}, []string{text}, map[string]string{
			"X-Old": hex.EncodeToString(sum(sha1.New, text, payload)),
		}},
		"Overridden": {posthorn.SignatureProfile{Profile: "github", Header: "X-Hub-Signature", Algorithm: "hmac-sha1", Value: "sha1={signature}", Headers: map[string]string{}}, []string{text}, map[string]string{
			"X-Hub-Signature": "sha1=" + hex.EncodeToString(sum(sha1.New, text, payload)),
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			mustProfile(t, c.profile).Sign(h, Message{"evt_1", "invoice.paid", time.Unix(1700000000, 0), body}, mustText(t, c.secrets...)...)
			got := map[string]string{}
			for name, values := range h {
				got[name] = strings.Join(values, "\n")
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("signed %v\nwant %v", got, c.want)
			}
		})
	}
}

// The senders' own published vectors.
func TestPublishedVectors(t *testing.T) {
	t.Run("GitHub", func(t *testing.T) {
		h := http.Header{}
		mustProfile(t, posthorn.SignatureProfile{Profile: "github"}).Sign(h, Message{Body: []byte("Hello, World!")}, mustText(t, "It's a Secret to Everybody")...)
		want := "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
		if got := h.Get("X-Hub-Signature-256"); got != want {
			t.Errorf("signed %s, want %s", got, want)
		}
	})
	t.Run("Slack", func(t *testing.T) {
		h := http.Header{}
		payload := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
		mustProfile(t, posthorn.SignatureProfile{Profile: "slack"}).Sign(h, Message{At: time.Unix(1531420618, 0), Body: []byte(payload)}, mustText(t, "8f742231b10e8888abcd99yyyzzz85a5")...)
		want := "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
		if got := h.Get("X-Slack-Signature"); got != want {
			t.Errorf("signed %s, want %s", got, want)
		}
	})
	t.Run("Svix", func(t *testing.T) {
		h := http.Header{}
		mustProfile(t, posthorn.SignatureProfile{Profile: "svix"}).Sign(h,
			Message{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", At: time.Unix(1614265330, 0), Body: []byte(`{"test": 2432232314}`)},
			mustText(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")...)
		want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		if got := h.Get("svix-signature"); got != want {
			t.Errorf("signed %s, want %s", got, want)
		}
	})
}

func TestProfileFaults(t *testing.T) {
	good := posthorn.SignatureProfile{Header: "X-Acme", Signed: "{body}"}
	cases := map[string]struct {
		change func(*posthorn.SignatureProfile)
		field  string
	}{
		"Good":            {func(*posthorn.SignatureProfile) {}, ""},
		"NoHeader":        {func(p *posthorn.SignatureProfile) { p.Header = "" }, "signature.header"},
		"OurHeader":       {func(p *posthorn.SignatureProfile) { p.Header = "Webhook-Signature" }, "signature.header"},
		"HopByHop":        {func(p *posthorn.SignatureProfile) { p.Header = "Connection" }, "signature.header"},
		"UnknownProfile":  {func(p *posthorn.SignatureProfile) { p.Profile = "acme" }, "signature.profile"},
		"Algorithm":       {func(p *posthorn.SignatureProfile) { p.Algorithm = "hmac-md5" }, "signature.algorithm"},
		"Encoding":        {func(p *posthorn.SignatureProfile) { p.Encoding = "base32" }, "signature.encoding"},
		"Key":             {func(p *posthorn.SignatureProfile) { p.Key = "hex" }, "signature.key"},
		"NothingSigned":   {func(p *posthorn.SignatureProfile) { p.Signed = "" }, "signature.signed"},
		"NoBody":          {func(p *posthorn.SignatureProfile) { p.Signed = "{id}.{timestamp}" }, "signature.signed"},
		"TwoBodies":       {func(p *posthorn.SignatureProfile) { p.Signed = "{body}{body}" }, "signature.signed"},
		"EscapedBody":     {func(p *posthorn.SignatureProfile) { p.Signed = "{{body}}" }, "signature.signed"},
		"UnknownPlace":    {func(p *posthorn.SignatureProfile) { p.Signed = "{secret}{body}" }, "signature.signed"},
		"SignedSignature": {func(p *posthorn.SignatureProfile) { p.Signed = "{signature}{body}" }, "signature.signed"},
		"EmptyPlace":      {func(p *posthorn.SignatureProfile) { p.Signed = "{}{body}" }, "signature.signed"},
		"Open":            {func(p *posthorn.SignatureProfile) { p.Signed = "{body}{" }, "signature.signed"},
		"Close":           {func(p *posthorn.SignatureProfile) { p.Signed = "{body}}" }, "signature.signed"},
		"TooLong":         {func(p *posthorn.SignatureProfile) { p.Signed = "{body}" + strings.Repeat("a", 251) }, "signature.signed"},
		"NotASCII":        {func(p *posthorn.SignatureProfile) { p.Signed = "{body}é" }, "signature.signed"},
		"NoSignature":     {func(p *posthorn.SignatureProfile) { p.Value = "v1" }, "signature.value"},
		"BodyInAHeader":   {func(p *posthorn.SignatureProfile) { p.Value = "{body}{signature}" }, "signature.value"},
		"LineBreak":       {func(p *posthorn.SignatureProfile) { p.Value = "a\r\nX-Evil: {signature}" }, "signature.value"},
		"NewLine":         {func(p *posthorn.SignatureProfile) { p.Value = "a\nX-Evil: {signature}" }, "signature.value"},
		"RepeatNothing":   {func(p *posthorn.SignatureProfile) { p.Repeat = ",v1" }, "signature.repeat"},
		"HeaderSignature": {func(p *posthorn.SignatureProfile) { p.Headers = map[string]string{"X-A": "{signature}"} }, "signature.headers.X-A"},
		"HeaderTwice":     {func(p *posthorn.SignatureProfile) { p.Headers = map[string]string{"X-A": "1", "x-a": "2"} }, "signature.headers."},
		"HeaderReserved":  {func(p *posthorn.SignatureProfile) { p.Headers = map[string]string{"Host": "{id}"} }, "signature.headers"},
		"ManyHeaders": {func(p *posthorn.SignatureProfile) {
			p.Headers = map[string]string{"A": "1", "B": "1", "C": "1", "D": "1", "E": "1"}
		}, "signature.headers"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := good
			c.change(&p)
			p = Expand(p)
			_, err := ParseProfile(&p)
			if (err == nil) != (c.field == "") || err != nil && !strings.Contains(err.Error(), c.field) {
				t.Errorf("ParseProfile = %v, want a fault of %q", err, c.field)
			}
		})
	}
}

func TestExpandIsStable(t *testing.T) {
	for name := range presets {
		once := Expand(posthorn.SignatureProfile{Profile: name})
		twice := Expand(once)
		if !maps.Equal(once.Headers, twice.Headers) || once.Value != twice.Value || once.Repeat != twice.Repeat || once.Signed != twice.Signed {
			t.Errorf("%s expands to %+v, and that to %+v", name, once, twice)
		}
		if _, err := ParseProfile(&once); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProfileSecrets(t *testing.T) {
	text, decoded := mustProfile(t, posthorn.SignatureProfile{Profile: "github"}), mustProfile(t, posthorn.SignatureProfile{Profile: "svix"})
	const long = "12345678"
	for name, c := range map[string]struct {
		profile *Profile
		secret  string
		want    error
	}{
		"Text":           {text, long, nil},
		"Short":          {text, long[1:], ErrText},
		"TooLong":        {text, strings.Repeat("a", 257), ErrText},
		"NotASCII":       {text, "geheimnis-ä", ErrText},
		"Standard":       {text, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", nil},
		"ForeignWhsec":   {text, "whsec_not-base64-of-ours", nil},
		"Ed25519":        {text, GenerateEd25519().Secret().Reveal(), ErrNotShared},
		"BrokenEd25519":  {text, "whsk_AAAA", ErrPrivateKey},
		"DecodedText":    {decoded, long, ErrSecretForm},
		"Decoded":        {decoded, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", nil},
		"DecodedEd25519": {decoded, GenerateEd25519().Secret().Reveal(), ErrNotShared},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := c.profile.ParseSecret(c.secret)
			if !errors.Is(err, c.want) || (err == nil) != (key != nil && key.Secret().Reveal() == c.secret) {
				t.Errorf("ParseSecret = %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"{id}.{timestamp}.{body}", "{{", "}}", "{", "{body}{{}}", "{body"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, fault := parseTemplate(text, placeBody, placeID, placeTimestamp)
		if fault != "" {
			return
		}
		filled := parsed.fill(func(place string) []byte { return []byte("<" + place + ">") })
		if strings.Count(filled, "<body>") < 1 || len(filled) > maxTemplate*4 {
			t.Errorf("%q is filled as %q", text, filled)
		}
	})
}
