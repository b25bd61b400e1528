package inbound

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/posthorn/posthorn"
)

// A template is text with {header.NAME} and {payload.PATH}, such as github.{header.X-GitHub-Event}.{payload.action}.
type template []part

// part is literal text, the name of a header, or a path into the payload: one of the three.
type part struct {
	text, header string
	path         path
}

const (
	// maxParts bounds what one template looks up.
	maxParts     = 16
	templateRule = "must be text with {header.NAME} and {payload.path.to[0]}, at most 512 characters and 16 parts"
)

// parseTemplate reads a template; false when it breaks the rule.
func parseTemplate(text string) (template, bool) {
	if utf8.RuneCountInString(text) > posthorn.MaxTemplate {
		return nil, false
	}
	var t template
	for text != "" {
		if len(t) == maxParts {
			return nil, false
		}
		literal, rest, found := strings.Cut(text, "{")
		if strings.Contains(literal, "}") {
			return nil, false
		}
		if literal != "" {
			t = append(t, part{text: literal})
		}
		if !found {
			break
		}
		inner, after, closed := strings.Cut(rest, "}")
		p, ok := parsePlaceholder(inner)
		if !closed || !ok {
			return nil, false
		}
		t = append(t, p)
		text = after
	}
	return t, len(t) <= maxParts
}

func parsePlaceholder(inner string) (part, bool) {
	if name, ok := strings.CutPrefix(inner, "header."); ok {
		return part{header: name}, isHeaderName(name)
	}
	if rest, ok := strings.CutPrefix(inner, "payload"); ok {
		p, ok := parsePath(rest)
		return part{path: p}, ok
	}
	return part{}, false
}

func isHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// render fills the placeholders in. found counts those that had a value, missing those that had none.
func (t template) render(header http.Header, body []byte) (text string, found, missing int) {
	var b strings.Builder
	for _, p := range t {
		if p.text != "" {
			b.WriteString(p.text)
			continue
		}
		value, ok := header.Get(p.header), true
		if p.header == "" {
			value, ok = p.path.find(body)
		}
		if !ok || value == "" || b.Len()+len(value) > maxRendered {
			missing++
			continue
		}
		found++
		b.WriteString(value)
	}
	return b.String(), found, missing
}

// maxRendered bounds what a template becomes: a payload's texts may be as long as the payload.
const maxRendered = 4096

// typeOf makes an event type of a text: what cannot stand in one becomes _, and slashes, colons and spaces separate as dots do.
// Empty when nothing is left.
func typeOf(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
			b.WriteRune(r)
		case r == '.', r == '/', r == ':', r == ' ':
			b.WriteByte('.')
		default:
			b.WriteByte('_')
		}
		if b.Len() >= 2*posthorn.MaxTypeLength {
			break
		}
	}
	segments := strings.FieldsFunc(b.String(), func(r rune) bool { return r == '.' })
	joined := strings.Join(segments, ".")
	if len(joined) > posthorn.MaxTypeLength {
		joined = strings.TrimRight(joined[:posthorn.MaxTypeLength], ".")
	}
	return joined
}
