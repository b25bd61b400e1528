package signing

import (
	"fmt"
	"strings"
)

// maxTemplate bounds a template, in bytes.
const maxTemplate = 256

// The places of a template. {{ and }} stand for the braces themselves.
const (
	placeID        = "id"
	placeTimestamp = "timestamp"
	placeType      = "type"
	placeBody      = "body"
	placeSignature = "signature"
)

// template is text with places in it, parsed.
type template []piece

// piece is a text, or a place when it has a name.
type piece struct{ text, place string }

// parseTemplate reads a template in which only some places may stand, must being one that stands exactly once (or "").
// The fault says what would be right; it never quotes the template.
func parseTemplate(text, must string, may ...string) (t template, fault string) {
	if text == "" || len(text) > maxTemplate {
		return nil, fmt.Sprintf("must be a template of 1 to %d bytes", maxTemplate)
	}
	found := 0
	var literal strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], "{{"), strings.HasPrefix(text[i:], "}}"):
			literal.WriteByte(c)
			i++
		case c == '{':
			name, _, closed := strings.Cut(text[i+1:], "}")
			if !closed || !known(name, must, may) {
				return nil, "may have these places only: " + listed(must, may) + "; write {{ and }} for braces"
			}
			if name == must {
				found++
			}
			t = append(t, piece{text: literal.String()}, piece{place: name})
			literal.Reset()
			i += len(name) + 1
		case c == '}':
			return nil, "has a } without its {; write }} for the brace itself"
		case c != '\n' && (c < ' ' || c > '~'):
			return nil, "must be visible ASCII characters and spaces"
		default:
			literal.WriteByte(c)
		}
	}
	if must != "" && found != 1 {
		return nil, "must have {" + must + "} exactly once"
	}
	return append(t, piece{text: literal.String()}), ""
}

func known(name, must string, may []string) bool {
	for _, n := range append(may, must) {
		if n == name && n != "" {
			return true
		}
	}
	return false
}

func listed(must string, may []string) string {
	var names []string
	for _, n := range append(may, must) {
		if n != "" {
			names = append(names, "{"+n+"}")
		}
	}
	return strings.Join(names, ", ")
}

// each gives the parts of a filled template in order; what stands for a place is asked for.
func (t template) each(fill func(place string) []byte, part func([]byte)) {
	for _, p := range t {
		if p.place != "" {
			part(fill(p.place))
		} else if p.text != "" {
			part([]byte(p.text))
		}
	}
}

func (t template) fill(fill func(place string) []byte) string {
	var b strings.Builder
	t.each(fill, func(p []byte) { b.Write(p) })
	return b.String()
}
