package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var body = []byte(`{"type":"invoice.paid","data":{"id":"in_1"}}`)

func TestReferenceLibraryAgrees(t *testing.T) {
	for size := range 200 {
		key, at := GenerateHMAC(), time.Now()
		oracle, err := reference.NewWebhook(key.Secret().Reveal())
		if err != nil {
			t.Fatal(err)
		}
		payload := bytes.Repeat([]byte{byte(size)}, size)
		ours := Sign("evt_1", at, payload, key)
		theirs, err := oracle.Sign("evt_1", at, payload)
		if err != nil || ours != theirs {
			t.Fatalf("Sign = %s, the reference signs %s (%v)", ours, theirs, err)
		}
		h := headers("evt_1", at.Unix(), ours)
		if err := oracle.Verify(payload, h); err != nil {
			t.Fatalf("the reference refuses our signature: %v", err)
		}
		if err := Verify(h, payload, at, key); err != nil {
			t.Fatalf("Verify refuses the reference's signature: %v", err)
		}
	}
}

func TestGenerated(t *testing.T) {
	for name, generate := range map[string]func() *Key{"HMAC": GenerateHMAC, "Ed25519": GenerateEd25519} {
		t.Run(name, func(t *testing.T) {
			key, other := generate(), generate()
			again, err := ParseSecret(key.Secret().Reveal())
			if err != nil {
				t.Fatal(err)
			}
			at := time.Unix(1700000000, 0)
			h := headers("evt_1", at.Unix(), Sign("evt_1", at, body, key))
			if err := Verify(h, body, at, again); err != nil {
				t.Errorf("Verify after parsing again: %v", err)
			}
			if err := Verify(h, body, at, other); !errors.Is(err, ErrNoMatch) {
				t.Errorf("Verify with another key = %v, want ErrNoMatch", err)
			}
			if name == "Ed25519" {
				public, err := ParsePublicKey(key.Public())
				if err != nil || Verify(h, body, at, public) != nil {
					t.Errorf("the public key does not verify (%v)", err)
				}
			} else if key.Public() != "" {
				t.Error("a shared secret has no public key")
			}
		})
	}
}

func TestImportSecret(t *testing.T) {
	const bare = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	key, err := ImportSecret(bare)
	if err != nil || key.Secret().Reveal() != "whsec_"+bare {
		t.Errorf("ImportSecret of a bare secret = %v, %v; want it with its prefix", key.Secret().Reveal(), err)
	}
	if _, err := ParseSecret(bare); !errors.Is(err, ErrSecretForm) {
		t.Errorf("ParseSecret of a bare secret = %v, want ErrSecretForm", err)
	}
	if key, err := ImportSecret("whsec_" + bare); err != nil || key.Secret().Reveal() != "whsec_"+bare {
		t.Errorf("ImportSecret of a whole secret: %v", err)
	}
}

func TestSecretForms(t *testing.T) {
	cases := map[string]struct {
		text string
		want error
	}{
		"NonCanonicalBits":  {"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", ErrSecretLength},
		"LineBreakInside":   {"whsec_MfKQ9r8GKYqrTwjU\nPD8ILPZIo2LaLaSw", ErrSecretLength},
		"CarriageReturn":    {"whsec_MfKQ9r8GKYqrTwjU\r\nPD8ILPZIo2LaLaSw", ErrSecretLength},
		"Unpadded":          {"whsec_ZPQ6pNHPvdbJGIaemUAcqMr9cYkH2O+ZXw", ErrSecretLength},
		"PublicKeyAsSecret": {"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", ErrSecretForm},
		"PrivateTooLong":    {"whsk_" + strings.Repeat("A", 100), ErrPrivateKey},
		"PrivateLineBreak":  {"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=\n", ErrPrivateKey},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseSecret(c.text); !errors.Is(err, c.want) {
				t.Errorf("ParseSecret = %v, want %v", err, c.want)
			}
		})
	}
}

func TestVerifyBounds(t *testing.T) {
	key, public := GenerateHMAC(), GenerateEd25519()
	at := time.Unix(1700000000, 0)
	good := Sign("evt_1", at, body, key)
	cases := map[string]struct {
		id, timestamp, signature string
		want                     error
	}{
		"Good":             {"evt_1", "1700000000", good, nil},
		"LastOfThirtyTwo":  {"evt_1", "1700000000", strings.Repeat("v1,AAAA ", 31) + good, nil},
		"ThirtyThird":      {"evt_1", "1700000000", strings.Repeat("v1,AAAA ", 32) + good, ErrTooManySignatures},
		"DoubleSpaces":     {"evt_1", "1700000000", "v1,AAAA   " + good, nil},
		"OnlySpaces":       {"evt_1", "1700000000", "   ", ErrNoMatch},
		"DottedID":         {"evt.1", "1700000000", good, ErrID},
		"NoID":             {"", "1700000000", good, ErrMissingHeader},
		"PlusSign":         {"evt_1", "+1700000000", good, ErrTimestamp},
		"LeadingZero":      {"evt_1", "01700000000", good, ErrTimestamp},
		"Fraction":         {"evt_1", "1700000000.0", good, ErrTimestamp},
		"Underscore":       {"evt_1", "1_700000000", good, ErrTimestamp},
		"Space":            {"evt_1", " 1700000000", good, ErrTimestamp},
		"OtherDigits":      {"evt_1", "١٧٠٠", good, ErrTimestamp},
		"Milliseconds":     {"evt_1", "1700000000000", good, ErrTimestamp},
		"OldestAllowed":    {"evt_1", "1699999700", good, ErrNoMatch},
		"TooOld":           {"evt_1", "1699999699", good, ErrTooOld},
		"TooNew":           {"evt_1", "1700000301", good, ErrTooNew},
		"WrongVersion":     {"evt_1", "1700000000", "v1a" + strings.TrimPrefix(good, "v1"), ErrNoMatch},
		"Ed25519TooLong":   {"evt_1", "1700000000", "v1a," + strings.Repeat("A", 100000), ErrNoMatch},
		"Ed25519LineBreak": {"evt_1", "1700000000", "v1a,\n" + strings.Repeat("A", 87) + "=", ErrNoMatch},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			h.Set(HeaderID, c.id)
			h.Set(HeaderTimestamp, c.timestamp)
			h.Set(HeaderSignature, c.signature)
			if err := Verify(h, body, at, public, key); !errors.Is(err, c.want) {
				t.Errorf("Verify = %v, want %v", err, c.want)
			}
		})
	}
}

// A key that was never parsed must not turn into one that anybody can sign with.
func TestZeroKeysVerifyNothing(t *testing.T) {
	at := time.Unix(1700000000, 0)
	for _, signature := range []string{" ", "  ", "v1,", "v1a,", " v1,47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="} {
		h := headers("evt_1", at.Unix(), signature)
		if err := Verify(h, body, at, PublicKey{}, &Key{}); !errors.Is(err, ErrNoMatch) {
			t.Errorf("Verify(%q) with zero keys = %v, want ErrNoMatch", signature, err)
		}
	}
	if err := Verify(headers("evt_1", at.Unix(), "v1,AAAA"), body, at); !errors.Is(err, ErrNoMatch) {
		t.Errorf("Verify without keys = %v, want ErrNoMatch", err)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	key := GenerateEd25519()
	text := strings.TrimPrefix(key.Secret().Reveal(), privatePrefix)
	shared := GenerateHMAC()
	type subscription struct {
		Secret Secret
		Key    *Key
		secret Secret
		key    *Key
		byName map[string]Secret
	}
	row := subscription{key.Secret(), key, key.Secret(), key, map[string]Secret{"a": key.Secret()}}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t"} {
		fmt.Fprintf(&printed, verb+"\n", key.Secret())
		fmt.Fprintf(&printed, verb+"\n", key)
		fmt.Fprintf(&printed, verb+"\n", row)
		fmt.Fprintf(&printed, verb+"\n", &row)
		fmt.Fprintf(&printed, verb+"\n", shared)
	}
	encoded, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(encoded)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
		slog.New(handler).Info("subscription", "secret", key.Secret(), "key", key, "row", row)
	}
	for _, leak := range []string{text, fmt.Sprintf("%x", text), strconv.Itoa(int(key.private[0])) + " " + strconv.Itoa(int(key.private[1]))} {
		if strings.Contains(strings.ToLower(printed.String()), strings.ToLower(leak)) {
			t.Errorf("the secret is printed as %s", leak)
		}
	}
	if !strings.Contains(string(encoded), `"Secret":"[secret]"`) || key.Secret().IsZero() || !(Secret{}).IsZero() {
		t.Errorf("encoded as %s", encoded)
	}
}

func FuzzVerify(f *testing.F) {
	key, pair := GenerateHMAC(), GenerateEd25519()
	at := time.Unix(1700000000, 0)
	f.Add("evt_1", "1700000000", Sign("evt_1", at, body, key, pair), body)
	f.Add("evt_1", "0", "v1, v1a, v2,x  ,", []byte(nil))
	f.Add("", "-1", strings.Repeat("v1,AAAA ", 40), body)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, payload []byte) {
		h := http.Header{}
		h.Set(HeaderID, id)
		h.Set(HeaderTimestamp, timestamp)
		h.Set(HeaderSignature, signature)
		for _, verifier := range []Verifier{key, pair} {
			err := Verify(h, payload, at, verifier)
			if err != nil {
				continue
			}
			// Whatever is accepted must be what signing the same message writes.
			seconds, err := strconv.ParseInt(timestamp, 10, 64)
			if err != nil {
				t.Fatalf("accepted the timestamp %q", timestamp)
			}
			want := Sign(id, time.Unix(seconds, 0), payload, verifier.(*Key))
			if !strings.Contains(" "+signature+" ", " "+want+" ") {
				t.Fatalf("accepted %q, which does not hold %s", signature, want)
			}
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(GenerateHMAC().Secret().Reveal())
	f.Add(GenerateEd25519().Secret().Reveal())
	f.Add(GenerateEd25519().Public())
	f.Add("whsec_")
	f.Add("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseSecret(text)
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error holds the secret: %v", err)
			}
			if key, err := ImportSecret(text); err == nil && key.Secret().Reveal() != hmacPrefix+text {
				t.Fatalf("ImportSecret changed %q into %q", text, key.Secret().Reveal())
			}
			return
		}
		if key.Secret().Reveal() != text {
			t.Fatalf("%q reads back as %q", text, key.Secret().Reveal())
		}
		if n := len(key.hmac); key.private == nil && (n < minSecretBytes || n > maxSecretBytes) {
			t.Fatalf("a secret of %d bytes was accepted", n)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	payload, at := bytes.Repeat([]byte("x"), 1024), time.Unix(1700000000, 0)
	const id = "evt_06crf3hak5zvt8hdaxyvmq1zrg"
	for name, keys := range map[string][]*Key{
		"HMAC": {GenerateHMAC()}, "Rotated": {GenerateHMAC(), GenerateHMAC()}, "Ed25519": {GenerateEd25519()},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				Sign(id, at, payload, keys...)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	key, at := GenerateHMAC(), time.Unix(1700000000, 0)
	h := headers("evt_1", at.Unix(), Sign("evt_1", at, body, key))
	b.ReportAllocs()
	for b.Loop() {
		if err := Verify(h, body, at, key); err != nil {
			b.Fatal(err)
		}
	}
}
