package egress

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

const (
	// maxURLLength is in bytes; longer ones do not pass many servers and proxies.
	maxURLLength = 2048
	// maxNameLength and maxLabelLength are DNS's (RFC 1035, section 2.3.4).
	maxNameLength  = 253
	maxLabelLength = 63
)

// CheckURL judges a URL by its text, without resolving anything, and gives it in its normal form: host in lower case and
// in ASCII, no trailing dot, no default port. Path and query keep their bytes, but for what must be percent-encoded. The
// error is a *Refusal. Parsers disagree about odd URLs, so whatever they could disagree about is refused.
func (p *Policy) CheckURL(raw string) (*url.URL, error) {
	if err := checkText(raw); err != nil {
		return nil, err
	}
	scheme, rest, err := p.cutScheme(raw)
	if err != nil {
		return nil, err
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(tail, "#") {
		return nil, errFragment
	}
	host, port, err := splitAuthority(authority)
	if err != nil {
		return nil, err
	}
	host, allowed, err := p.checkHost(host)
	if err != nil {
		return nil, err
	}
	port, err = checkPort(scheme, port, allowed)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(scheme + "://" + host + port + escape(tail))
	if err != nil {
		return nil, refuse("path", "must have %% only before two hexadecimal digits")
	}
	return u, nil
}

// URL is a URL to send to, and what a policy has said of it, which is asked once: neither of them changes. It is safe for
// concurrent use.
type URL struct {
	*url.URL
	text   string
	judged atomic.Pointer[judged]
}

// judged is the normal form of a URL and the address to dial without TLS, or why it is refused.
type judged struct {
	by      *Policy
	normal  *url.URL
	address string
	err     error
}

// ParseURL reads a URL as it was written; whether it may be sent to is the policy's to say, when it is.
func ParseURL(text string) (*URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	return &URL{URL: u, text: text}, nil
}

func (u *URL) judgedBy(p *Policy) *judged {
	if u == nil {
		return &judged{err: refuse("scheme", "must begin with https://")}
	}
	if j := u.judged.Load(); j != nil && j.by == p {
		return j
	}
	j := &judged{by: p}
	if j.normal, j.err = p.CheckURL(u.text); j.err == nil {
		j.address = hostPort(j.normal)
	}
	u.judged.Store(j)
	return j
}

// hostPort is the address to dial for a URL without TLS.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// checkText refuses what no URL holds, and what does not show.
func checkText(raw string) error {
	if len(raw) > maxURLLength {
		return refuse("length", "must be at most %d bytes long", maxURLLength)
	}
	for _, r := range raw {
		switch {
		case r == utf8.RuneError:
			return refuse("characters", "must be valid UTF-8")
		case r == ' ' || !unicode.IsPrint(r):
			return refuse("characters", "must not contain spaces, control characters or invisible ones; percent-encode them")
		case r == '\\':
			return refuse("characters", `must not contain \; percent-encode it as %%5C`)
		}
	}
	return nil
}

// cutScheme takes the scheme and exactly two slashes off.
func (p *Policy) cutScheme(raw string) (scheme, rest string, err error) {
	scheme, rest, found := strings.Cut(raw, ":")
	scheme = lower(scheme)
	if !found || scheme != "https" && scheme != "http" {
		return "", "", refuse("scheme", "must begin with https://")
	}
	if scheme == "http" && !p.allowHTTP {
		return "", "", refuse("scheme_http", "must begin with https://; the operator can allow http:// with %s", settingHTTP)
	}
	if !strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "///") {
		return "", "", refuse("scheme", "must have exactly two slashes after %s:", scheme)
	}
	return scheme, rest[2:], nil
}

// splitAuthority gives the host, in brackets if it came so, and the port's digits.
func splitAuthority(authority string) (host, port string, err error) {
	switch {
	case strings.Contains(authority, "@"):
		return "", "", errUserinfo
	case strings.Contains(authority, "%"):
		return "", "", refuse("host", "must not percent-encode its host")
	}
	host, rest := authority, ""
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return "", "", errBrackets
		}
		host, rest = authority[:end+1], authority[end+1:]
	} else if i := strings.IndexByte(authority, ':'); i >= 0 {
		host, rest = authority[:i], authority[i:]
	}
	if host == "" {
		return "", "", refuse("host", "must have a host")
	}
	if rest == "" {
		return host, "", nil
	}
	port, found := strings.CutPrefix(rest, ":")
	if !found || strings.Contains(port, ":") {
		return "", "", errBrackets
	}
	if port == "" {
		return "", "", errPort
	}
	return host, port, nil
}

// checkHost gives the host in its normal form, and whether the operator's prefixes are why it is allowed.
func (p *Policy) checkHost(host string) (normal string, allowed bool, err error) {
	if strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() {
			return "", false, errBrackets
		}
		return "[" + addr.String() + "]", p.guard.allows(addr), p.guard.checkLiteral(addr)
	}
	name, err := p.toASCII(lower(host))
	if err != nil {
		return "", false, err
	}
	if endsInNumber(name) {
		// By the WHATWG's rule browsers read such a host as an IPv4 address, in any of its spellings. One is enough.
		addr, err := netip.ParseAddr(name)
		if err != nil || name != lower(host) {
			return "", false, refuse("address_form", "must write an IPv4 address as four plain decimal numbers, or have a host that does not end in a number")
		}
		return name, p.guard.allows(addr), p.guard.checkLiteral(addr)
	}
	name = strings.TrimSuffix(name, ".")
	if err := checkLabels(name); err != nil {
		return "", false, err
	}
	return name, isLoopbackName(name), p.checkName(name)
}

// toASCII maps an international name to the form DNS knows. A label that is not ASCII must stay so in meaning: the
// full-width and other look-alikes of plain letters, digits and dots are disguises.
func (p *Policy) toASCII(host string) (string, error) {
	international := false
	for label := range strings.SplitSeq(host, ".") {
		if !isASCII(label) || strings.HasPrefix(label, "xn--") {
			international = true
		}
	}
	if !international {
		return host, nil
	}
	if last := host[strings.LastIndexByte(strings.TrimRight(host, "."), '.')+1:]; isNumber(last) {
		// No top-level domain is a number; in the digits of another script it is an address in disguise.
		return "", errInternational
	}
	name, err := p.idna.ToASCII(host)
	if err != nil || strings.Count(name, ".") != strings.Count(host, ".") {
		return "", errInternational
	}
	labels := strings.Split(name, ".")
	for i, label := range strings.Split(host, ".") {
		if !isASCII(label) && !strings.HasPrefix(labels[i], "xn--") {
			return "", errInternational
		}
	}
	return name, nil
}

func checkLabels(name string) error {
	if len(name) > maxNameLength {
		return refuse("host", "must have a host of at most %d characters", maxNameLength)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return refuse("host", "must not have an empty part between the dots of its host")
		case len(label) > maxLabelLength:
			return refuse("host", "must have at most %d characters between the dots of its host", maxLabelLength)
		case label[0] == '-' || label[len(label)-1] == '-':
			return refuse("host", "must not have a hyphen at the start or end of a part of its host")
		}
		for i := range len(label) {
			c := label[i]
			if !('a' <= c && c <= 'z' || isDigit(c) || c == '-' || c == '_') {
				return refuse("host", "must have a host of letters, digits, hyphens and dots")
			}
		}
	}
	return nil
}

// endsInNumber is the WHATWG's rule (URL standard, "ends in a number checker").
func endsInNumber(name string) bool {
	last := strings.TrimSuffix(name, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// checkPort gives ":port", or nothing for the scheme's own. Hosts that the operator allowed may listen where they like.
func checkPort(scheme, digits string, allowed bool) (string, error) {
	if digits == "" {
		return "", nil
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 || digits[0] == '0' || !isDigit(digits[0]) {
		return "", errPort
	}
	if scheme == "https" && port == 443 || scheme == "http" && port == 80 {
		return "", nil
	}
	if !allowed && isForeignPort(uint16(port)) {
		return "", refuse("port_service", "must not have the port of a well-known service that is not HTTP; no setting allows it")
	}
	return ":" + digits, nil
}

// unwise are the printable ASCII characters, but for those that checkText refuses, that no path or query holds (RFC 3986, section 3.3).
// One of them in a path makes url.URL forget how the rest of it was written.
const unwise = "\"<>^`{|}"

// escape percent-encodes in a path and query what does not belong there, and nothing else.
func escape(tail string) string {
	if isASCII(tail) && !strings.ContainsAny(tail, unwise) {
		return tail
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(tail) {
		if c := tail[i]; c < utf8.RuneSelf && strings.IndexByte(unwise, c) < 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// lower is for ASCII only: other letters can have ASCII lower-case forms, which would be a disguise.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for i, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isNumber reports digits of whatever script, and nothing else but dots.
func isNumber(label string) bool {
	label = strings.TrimRight(label, ".")
	return label != "" && !strings.ContainsFunc(label, func(r rune) bool { return !unicode.IsNumber(r) })
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// Refusals given in several places. They are never changed.
var (
	errUserinfo      = &Refusal{"userinfo", "must not contain a user name or password; send credentials in a header"}
	errFragment      = &Refusal{"fragment", "must not have a fragment (#…): it would never be sent"}
	errBrackets      = &Refusal{"host", "must have a host name, an IPv4 address, or an IPv6 address in brackets, and a port after a single colon"}
	errPort          = &Refusal{"port", "must have a port from 1 to 65535 in plain digits, or none"}
	errInternational = &Refusal{"host_international", "must have a valid international host name, without look-alikes of plain letters, digits or dots"}
)
