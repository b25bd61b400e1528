package inbound

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// path leads into a JSON payload: .name goes to a member, [0] to an item.
type path []step

type step struct {
	name  string
	index int // of an item, where name is empty
}

const (
	maxSteps = 16
	// maxDepth bounds the payloads that are looked into.
	maxDepth = 512
)

// parsePath reads .name.other[0]; names are letters, digits, _, - and $.
func parsePath(text string) (path, bool) {
	var p path
	for text != "" {
		if len(p) == maxSteps {
			return nil, false
		}
		switch text[0] {
		case '.':
			end := strings.IndexAny(text[1:], ".[")
			if end < 0 {
				end = len(text) - 1
			}
			name := text[1 : 1+end]
			if !isName(name) {
				return nil, false
			}
			p, text = append(p, step{name: name}), text[1+end:]
		case '[':
			digits, rest, closed := strings.Cut(text[1:], "]")
			n, err := strconv.ParseUint(digits, 10, 16)
			if !closed || err != nil || len(digits) > 1 && digits[0] == '0' {
				return nil, false
			}
			p, text = append(p, step{index: int(n)}), rest
		default:
			return nil, false
		}
	}
	return p, len(p) > 0
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '$') {
			return false
		}
	}
	return s != ""
}

// find is the text or number at the path; false where there is none, or the payload is not JSON up to there. It reads no
// further than needed and keeps nothing. Of members with one name the first counts.
func (p path) find(body []byte) (string, bool) {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for _, s := range p {
		if !s.enter(d) || d.StackDepth() > maxDepth {
			return "", false
		}
	}
	switch d.PeekKind() {
	case jsontext.KindString, jsontext.KindNumber:
		token, err := d.ReadToken()
		return token.String(), err == nil
	}
	return "", false
}

// enter reads up to the value that a step leads to.
func (s step) enter(d *jsontext.Decoder) bool {
	token, err := d.ReadToken()
	if err != nil {
		return false
	}
	if s.name == "" {
		return token.Kind() == jsontext.KindBeginArray && skip(d, s.index) && more(d)
	}
	if token.Kind() != jsontext.KindBeginObject {
		return false
	}
	for d.PeekKind() == jsontext.KindString {
		name, err := d.ReadToken()
		if err != nil {
			return false
		}
		if name.String() == s.name {
			return more(d)
		}
		if d.SkipValue() != nil {
			return false
		}
	}
	return false
}

func skip(d *jsontext.Decoder, n int) bool {
	for range n {
		if !more(d) || d.SkipValue() != nil {
			return false
		}
	}
	return true
}

// more reports whether a value comes next.
func more(d *jsontext.Decoder) bool {
	k := d.PeekKind()
	return k != jsontext.KindEndArray && k != jsontext.KindEndObject && k != jsontext.KindInvalid
}
