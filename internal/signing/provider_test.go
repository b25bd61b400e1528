package signing

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slackBody is of the example in "Verifying requests from Slack".
const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
	"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands" +
	"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

const stripeSignature = "a4d20b96f5937364811ea5d559b328a268a34a5334ab6acdada609af4e86b336"

// signed is a request as its provider signed it. GitHub's and Slack's are the examples of their documentation; the others were
// computed by another implementation of HMAC by the documented rule.
type signed struct {
	name, body, secret string
	header             map[string]string
	at                 time.Time
	verify             func(h http.Header, body []byte, now time.Time, secrets ...string) error
}

func signedRequests() []signed {
	const tolerance = 5 * time.Minute
	scheme := Scheme{
		Header: "X-Sig", Prefix: "v1=", Encoding: "base64", Algorithm: "sha512", SecretEncoding: "hex", TimestampHeader: "X-At",
		Signed: "{timestamp}|{body}|x",
	}
	return []signed{
		{
			"GitHub", "Hello, World!", "It's a Secret to Everybody",
			map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
			time.Time{},
			func(h http.Header, b []byte, _ time.Time, s ...string) error { return VerifyGitHub(h, b, s...) },
		},
		{
			"Slack", slackBody, "8f742231b10e8888abcd99yyyzzz85a5",
			map[string]string{
				"X-Slack-Request-Timestamp": "1531420618",
				"X-Slack-Signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
			},
			time.Unix(1531420618, 0),
			func(h http.Header, b []byte, now time.Time, s ...string) error {
				return VerifySlack(h, b, now, tolerance, s...)
			},
		},
		{
			"Stripe", "{\n  \"id\": \"evt_1\",\n  \"object\": \"event\"\n}", "whsec_test_secret",
			map[string]string{"Stripe-Signature": "t=1492774577,v1=" + stripeSignature + ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"},
			time.Unix(1492774577, 0),
			func(h http.Header, b []byte, now time.Time, s ...string) error {
				return VerifyStripe(h, b, now, tolerance, s...)
			},
		},
		{
			"Shopify", `{"id":820982911946154508}`, "hush",
			map[string]string{"X-Shopify-Hmac-Sha256": "qBvrsZF7RfB1iS6BX6IHqJTp5L911P7intnPeTPsH0I="},
			time.Time{},
			func(h http.Header, b []byte, _ time.Time, s ...string) error { return VerifyShopify(h, b, s...) },
		},
		{
			"HMAC", "body", "00ff10",
			map[string]string{
				"X-At":  "1700000000123",
				"X-Sig": "v1=j1Z3ScJUTwOapdfUNwqeodEwFaxEsLYoX9nDy106Zubw8oqbb21Gk4WGvkI2eYLVJLXybrQIHUUFeeXDFGkOtQ==",
			},
			time.Unix(1700000000, 0),
			func(h http.Header, b []byte, now time.Time, s ...string) error {
				return scheme.Verify(h, b, now, tolerance, s...)
			},
		},
		{
			"SHA1", "body", "k",
			map[string]string{"X-Sig": "a2282e7648e8caf7d224d6531dcd95c2808a5d89"},
			time.Time{},
			func(h http.Header, b []byte, now time.Time, s ...string) error {
				return Scheme{Header: "X-Sig", Algorithm: "sha1"}.Verify(h, b, now, 0, s...)
			},
		},
	}
}

func (s *signed) headers() http.Header {
	h := http.Header{}
	for name, value := range s.header {
		h.Set(name, value)
	}
	return h
}

func TestProviders(t *testing.T) {
	for _, s := range signedRequests() {
		t.Run(s.name, func(t *testing.T) {
			body := []byte(s.body)
			if err := s.verify(s.headers(), body, s.at, s.secret); err != nil {
				t.Fatalf("the provider's own request: %v", err)
			}
			// During a rotation either secret verifies.
			for _, secrets := range [][]string{{"00aa", s.secret}, {s.secret, "00aa"}} {
				if err := s.verify(s.headers(), body, s.at, secrets...); err != nil {
					t.Errorf("beside another secret: %v", err)
				}
			}
			for _, secrets := range [][]string{nil, {""}, {"00aa"}, {s.secret + "aa"}} {
				if err := s.verify(s.headers(), body, s.at, secrets...); !errors.Is(err, ErrNoMatch) {
					t.Errorf("by other secrets: %v", err)
				}
			}
			if err := s.verify(s.headers(), append(body, ' '), s.at, s.secret); !errors.Is(err, ErrNoMatch) {
				t.Errorf("with another body: %v", err)
			}
			for name, value := range s.header {
				s.breakHeader(t, name, value)
			}
			if s.at.IsZero() {
				return
			}
			for _, late := range []time.Duration{-301 * time.Second, 302 * time.Second} {
				if err := s.verify(s.headers(), body, s.at.Add(late), s.secret); !errors.Is(err, ErrTooOld) && !errors.Is(err, ErrTooNew) {
					t.Errorf("%s off: %v", late, err)
				}
			}
			if err := s.verify(s.headers(), body, s.at.Add(299*time.Second), s.secret); err != nil {
				t.Errorf("within the tolerance: %v", err)
			}
		})
	}
}

// breakHeader alters one header in every way that is not just another spelling.
func (s *signed) breakHeader(t *testing.T, name, value string) {
	t.Helper()
	last := "0"
	if strings.HasSuffix(value, "0") {
		last = "1"
	}
	for _, wrong := range []string{
		"", " ", "x" + value, value[1:], value[:len(value)-1] + last, value[:len(value)/2], strings.Repeat(value, 200), "sha256=", "v0=", "t=1,v1=",
	} {
		if wrong == value || name == "Stripe-Signature" && strings.Contains(wrong, stripeSignature+",v0") && strings.HasPrefix(wrong, "t=") && len(wrong) < 4096 {
			continue
		}
		h := s.headers()
		h.Set(name, wrong)
		if s.verify(h, []byte(s.body), s.at, s.secret) == nil {
			t.Errorf("%s: %q is accepted", name, wrong)
		}
	}
	h := s.headers()
	h.Del(name)
	if s.verify(h, []byte(s.body), s.at, s.secret) == nil {
		t.Errorf("without %s it is accepted", name)
	}
	h = s.headers()
	h.Add(name, value)
	if s.verify(h, []byte(s.body), s.at, s.secret) == nil {
		t.Errorf("with two %s it is accepted", name)
	}
}

func TestStripeHeader(t *testing.T) {
	body, now := []byte("{\n  \"id\": \"evt_1\",\n  \"object\": \"event\"\n}"), time.Unix(1492774577, 0)
	for header, want := range map[string]bool{
		"t=1492774577,v1=" + stripeSignature:                                     true,
		"v1=" + stripeSignature + ",t=1492774577":                                true,
		"t=1492774577, v1=00, v1=" + stripeSignature:                             true,
		"t=1492774577,v1=zz,v1=" + stripeSignature:                               true,
		"t=1492774577,v0=" + stripeSignature:                                     false,
		"t=1492774577,t=1492774577,v1=" + stripeSignature:                        false,
		"t=01492774577,v1=" + stripeSignature:                                    false,
		"t=-1492774577,v1=" + stripeSignature:                                    false,
		"v1=" + stripeSignature:                                                  false,
		"t=1492774577" + strings.Repeat(",v1=00", 32) + ",v1=" + stripeSignature: false,
	} {
		err := VerifyStripe(http.Header{"Stripe-Signature": {header}}, body, now, Tolerance, "whsec_test_secret")
		if (err == nil) != want {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func FuzzStripeHeader(f *testing.F) {
	f.Add("t=1492774577,v1=" + stripeSignature)
	f.Add("t=,v1=,")
	f.Fuzz(func(t *testing.T, header string) {
		timestamp, signatures, err := parseStripe(header)
		if err == nil && (timestamp == "" || len(signatures) == 0 || len(signatures) > maxSignatures) {
			t.Errorf("%q is read as %q and %d signatures", header, timestamp, len(signatures))
		}
	})
}

func FuzzSchemeHeader(f *testing.F) {
	f.Add("sha256=", "hex", "sha256=00ff")
	f.Add("", "base64", "AAAA")
	f.Fuzz(func(t *testing.T, prefix, encoding, header string) {
		signature, err := Scheme{Prefix: prefix, Encoding: encoding}.parse(header)
		if err == nil && (len(signature) == 0 || !strings.HasPrefix(header, prefix)) {
			t.Errorf("%q after %q is read as %x", header, prefix, signature)
		}
	})
}

func FuzzTimestamp(f *testing.F) {
	f.Add("1700000000")
	f.Add("1700000000123")
	f.Fuzz(func(t *testing.T, text string) {
		now := time.Unix(1700000000, 0)
		if checkSigned(text, now, time.Minute) != nil {
			return
		}
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || n <= 0 {
			t.Errorf("%q is taken for a time near %s", text, now)
		}
	})
}
