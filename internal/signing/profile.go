package signing

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA1 is weak only by its length, and receivers that must be kept still have it.
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// What a profile may choose.
const (
	algorithmSHA256, algorithmSHA512, algorithmSHA1 = "hmac-sha256", "hmac-sha512", "hmac-sha1"
	encodingHex, encodingBase64                     = "hex", "base64"
	keyText, keyDecoded                             = "text", "decoded"
)

// maxProfileHeaders bounds the headers beside the signature's own.
const maxProfileHeaders = 4

// Profile is a signature profile ready to sign with; safe for concurrent use.
type Profile struct {
	header  string
	hash    func() hash.Hash
	encode  func([]byte) string
	text    bool
	signed  template
	value   template
	repeat  template
	headers map[string]template
	keep    bool
}

// Message is what is signed.
type Message struct {
	ID, Type string
	At       time.Time
	Body     []byte
}

// ParseProfile reads a profile that is spelt out (see Expand). The error is a posthorn.Violations.
func ParseProfile(s *posthorn.SignatureProfile) (*Profile, error) {
	var v posthorn.Violations
	p := &Profile{header: http.CanonicalHeaderKey(s.Header), text: s.Key == keyText, keep: s.KeepStandard}
	if _, preset := presets[s.Profile]; !preset && s.Profile != posthorn.ProfileCustom {
		v.Add("signature.profile", "must be standard, custom, %s", strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	if fault := posthorn.CheckHeaderName(s.Header); fault != "" {
		v.Add("signature.header", "%s", fault)
	}
	switch s.Algorithm {
	case algorithmSHA256:
		p.hash = sha256.New
	case algorithmSHA512:
		p.hash = sha512.New
	case algorithmSHA1:
		p.hash = sha1.New
	default:
		v.Add("signature.algorithm", "must be hmac-sha256, hmac-sha512 or hmac-sha1")
	}
	switch s.Encoding {
	case encodingHex:
		p.encode = hex.EncodeToString
	case encodingBase64:
		p.encode = base64.StdEncoding.EncodeToString
	default:
		v.Add("signature.encoding", "must be hex or base64")
	}
	if s.Key != keyText && s.Key != keyDecoded {
		v.Add("signature.key", "must be text or decoded")
	}
	p.parseTemplates(s, &v)
	return p, v.Err()
}

func (p *Profile) parseTemplates(s *posthorn.SignatureProfile, v *posthorn.Violations) {
	parse := func(field, text, must string, line bool, may ...string) template {
		t, fault := parseTemplate(text, must, may...)
		if fault == "" && line && strings.Contains(text, "\n") {
			fault = "must be one line"
		}
		if fault != "" {
			v.Add("signature."+field, "%s", fault)
		}
		return t
	}
	p.signed = parse("signed", s.Signed, placeBody, false, placeID, placeTimestamp, placeType)
	p.value = parse("value", s.Value, placeSignature, true, placeID, placeTimestamp)
	if s.Repeat != "" {
		p.repeat = parse("repeat", s.Repeat, placeSignature, true, placeID, placeTimestamp)
	}
	if len(s.Headers) > maxProfileHeaders {
		v.Add("signature.headers", "must have at most %d headers", maxProfileHeaders)
		return
	}
	p.headers = make(map[string]template, len(s.Headers))
	for name, text := range s.Headers {
		if fault := posthorn.CheckHeaderName(name); fault != "" {
			v.Add("signature.headers", "%s", fault)
			continue
		}
		if _, twice := p.headers[http.CanonicalHeaderKey(name)]; twice {
			v.Add("signature.headers."+name, "stands twice with different letter case; header names are case-insensitive")
		}
		p.headers[http.CanonicalHeaderKey(name)] = parse("headers."+name, text, "", true, placeID, placeTimestamp, placeType)
	}
}

// KeepsStandard says that the Standard Webhooks' signature is sent too.
func (p *Profile) KeepsStandard() bool { return p.keep }

// ParseSecret reads a secret for a subscription that signs with the profile: where its key is the text itself, any text
// will do (see ParseText). The errors hold no secret.
func (p *Profile) ParseSecret(text string) (*Key, error) {
	key, err := ParseSecret(text)
	if p.text {
		key, err = ParseText(text)
	}
	if err == nil && !p.Uses(key) {
		return nil, ErrNotShared
	}
	return key, err
}

// Uses says whether a key can sign with the profile: those of Ed25519 cannot.
func (p *Profile) Uses(key *Key) bool { return key.private == nil }

// Sign sets the profile's headers for a message, signed with the keys that can, newest first.
func (p *Profile) Sign(h http.Header, m Message, keys ...*Key) {
	timestamp := strconv.FormatInt(m.At.Unix(), 10)
	var signature string
	fill := func(place string) []byte {
		switch place {
		case placeID:
			return []byte(m.ID)
		case placeTimestamp:
			return []byte(timestamp)
		case placeType:
			return []byte(m.Type)
		case placeBody:
			return m.Body
		}
		return []byte(signature)
	}
	value := ""
	for _, key := range keys {
		if !p.Uses(key) {
			continue
		}
		mac := hmac.New(p.hash, p.key(key))
		p.signed.each(fill, func(part []byte) { mac.Write(part) })
		signature = p.encode(mac.Sum(nil))
		if value == "" {
			value = p.value.fill(fill)
			if p.repeat == nil {
				break
			}
			continue
		}
		value += p.repeat.fill(fill)
	}
	h[p.header] = []string{value}
	for name, t := range p.headers {
		h[name] = []string{t.fill(fill)}
	}
}

func (p *Profile) key(k *Key) []byte {
	if p.text {
		return []byte(k.secret.Reveal())
	}
	return k.hmac
}
