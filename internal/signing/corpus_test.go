package signing

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// corpus is the shape of testdata/signing.json.
type corpus struct {
	V1       []vector `json:"v1"`
	V1a      []vector `json:"v1a"`
	Rotation []struct {
		ID        string   `json:"id"`
		Secrets   []string `json:"secrets"`
		WebhookID string   `json:"webhook_id"`
		Timestamp int64    `json:"timestamp"`
		Payload   string   `json:"payload_utf8"`
		Header    string   `json:"header"`
	} `json:"rotation"`
	Invalid []struct {
		Secret string `json:"secret"`
		Why    string `json:"why"`
	} `json:"invalid_secrets"`
	Verify []struct {
		ID      string            `json:"id"`
		Name    string            `json:"name"`
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Payload string            `json:"payload_utf8"`
		Now     int64             `json:"now"`
		// Valid is null where either answer is right.
		Valid *bool `json:"valid"`
	} `json:"verify"`
}

type vector struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Secret    string   `json:"secret"`
	KeyHex    string   `json:"key_hex"`
	Private64 string   `json:"whsk_64"`
	Private32 string   `json:"whsk_32"`
	Public    string   `json:"whpk"`
	WebhookID string   `json:"webhook_id"`
	Timestamp int64    `json:"timestamp"`
	Base64    []byte   `json:"payload_base64"`
	Generate  *payload `json:"payload_gen"`
	SHA256    string   `json:"payload_sha256"`
	Signature string   `json:"signature"`
}

// payload is described by its parts: a text, or a text repeated.
type payload struct {
	Concat []json.RawMessage `json:"concat"`
}

func (p payload) bytes(t *testing.T) []byte {
	t.Helper()
	var b strings.Builder
	for _, part := range p.Concat {
		var text string
		var repeat struct {
			Repeat string `json:"repeat"`
			Times  int    `json:"times"`
		}
		if json.Unmarshal(part, &text) == nil {
			b.WriteString(text)
		} else if err := json.Unmarshal(part, &repeat); err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Repeat(repeat.Repeat, repeat.Times))
	}
	return []byte(b.String())
}

func (v vector) payload(t *testing.T) []byte {
	t.Helper()
	body := v.Base64
	if v.Generate != nil {
		body = v.Generate.bytes(t)
	}
	if sum := sha256.Sum256(body); v.SHA256 != "" && hex.EncodeToString(sum[:]) != v.SHA256 {
		t.Fatalf("payload of %s is not the one described", v.ID)
	}
	return body
}

// eachCorpus runs a test over the copy in testdata and, where the project's shared corpus is at hand, over that too.
func eachCorpus(t *testing.T, test func(t *testing.T, c corpus)) {
	folder := os.Getenv("POSTHORN_CORPUS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	for name, path := range map[string]string{"Copy": "testdata/signing.json", "Shared": filepath.Join(folder, "signing.json")} {
		text, err := os.ReadFile(path)
		if name == "Shared" && os.IsNotExist(err) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var c corpus
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			test(t, c)
		})
	}
}

func TestCorpusHMAC(t *testing.T) {
	eachCorpus(t, func(t *testing.T, c corpus) {
		for _, v := range c.V1 {
			t.Run(v.ID, func(t *testing.T) {
				key, err := ImportSecret(v.Secret)
				if err != nil {
					t.Fatal(err)
				}
				if v.KeyHex != "" && hex.EncodeToString(key.hmac) != v.KeyHex {
					t.Errorf("key = %x, want %s", key.hmac, v.KeyHex)
				}
				body, at := v.payload(t), time.Unix(v.Timestamp, 0)
				if got := Sign(v.WebhookID, at, body, key); got != v.Signature {
					t.Errorf("%s: Sign = %s, want %s", v.Name, got, v.Signature)
				}
				if err := Verify(headers(v.WebhookID, v.Timestamp, v.Signature), body, at, key); err != nil {
					t.Errorf("%s: Verify: %v", v.Name, err)
				}
			})
		}
	})
}

func TestCorpusEd25519(t *testing.T) {
	eachCorpus(t, func(t *testing.T, c corpus) {
		for _, v := range c.V1a {
			for _, text := range []string{v.Private32, v.Private64} {
				key, err := ParseSecret(text)
				if err != nil {
					t.Fatalf("%s: %v", v.ID, err)
				}
				body, at := v.payload(t), time.Unix(v.Timestamp, 0)
				if got := Sign(v.WebhookID, at, body, key); got != v.Signature {
					t.Errorf("%s: Sign = %s, want %s", v.ID, got, v.Signature)
				}
				if key.Public() != v.Public || key.Secret().Reveal() != text {
					t.Errorf("%s: Public = %s, want %s", v.ID, key.Public(), v.Public)
				}
				public, err := ParsePublicKey(v.Public)
				if err != nil {
					t.Fatalf("%s: %v", v.ID, err)
				}
				for _, verifier := range []Verifier{key, public} {
					if err := Verify(headers(v.WebhookID, v.Timestamp, v.Signature), body, at, verifier); err != nil {
						t.Errorf("%s: Verify with %T: %v", v.ID, verifier, err)
					}
				}
			}
		}
	})
}

func TestCorpusRotation(t *testing.T) {
	eachCorpus(t, func(t *testing.T, c corpus) {
		for _, r := range c.Rotation {
			var keys []*Key
			for _, secret := range r.Secrets {
				key, err := ParseSecret(secret)
				if err != nil {
					t.Fatalf("%s: %v", r.ID, err)
				}
				keys = append(keys, key)
			}
			at := time.Unix(r.Timestamp, 0)
			if got := Sign(r.WebhookID, at, []byte(r.Payload), keys...); got != r.Header {
				t.Errorf("%s: Sign = %s, want %s", r.ID, got, r.Header)
			}
			for _, key := range keys {
				if err := Verify(headers(r.WebhookID, r.Timestamp, r.Header), []byte(r.Payload), at, key); err != nil {
					t.Errorf("%s: Verify: %v", r.ID, err)
				}
			}
		}
	})
}

func TestCorpusInvalidSecrets(t *testing.T) {
	parsers := map[string]func(string) error{
		"ParseSecret":    func(s string) error { _, err := ParseSecret(s); return err },
		"ImportSecret":   func(s string) error { _, err := ImportSecret(s); return err },
		"ParsePublicKey": func(s string) error { _, err := ParsePublicKey(s); return err },
	}
	eachCorpus(t, func(t *testing.T, c corpus) {
		for _, invalid := range c.Invalid {
			for name, parse := range parsers {
				err := parse(invalid.Secret)
				if err == nil {
					t.Errorf("%s accepted a secret that is wrong: %s", name, invalid.Why)
				} else if len(invalid.Secret) > len(hmacPrefix) && strings.Contains(err.Error(), invalid.Secret) {
					t.Errorf("%s: the error holds the secret: %v", name, err)
				}
			}
		}
	})
}

func TestCorpusVerify(t *testing.T) {
	eachCorpus(t, func(t *testing.T, c corpus) {
		for _, v := range c.Verify {
			t.Run(v.ID, func(t *testing.T) {
				key, err := ParseSecret(v.Secret)
				if err != nil {
					t.Fatal(err)
				}
				h := http.Header{}
				for name, value := range v.Headers {
					h.Set(name, value)
				}
				err = Verify(h, []byte(v.Payload), time.Unix(v.Now, 0), key)
				if v.Valid != nil && (err == nil) != *v.Valid {
					t.Errorf("%s: Verify = %v, want valid %v", v.Name, err, *v.Valid)
				}
			})
		}
	})
}

func headers(id string, timestamp int64, signature string) http.Header {
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.FormatInt(timestamp, 10))
	h.Set(HeaderSignature, signature)
	return h
}
