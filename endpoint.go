package posthorn

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AuthType is a way in which a receiver is shown who sends.
type AuthType string

// The ways. A client certificate (TLS) is independent of them.
const (
	AuthBearer AuthType = "bearer"
	AuthBasic  AuthType = "basic"
	AuthAPIKey AuthType = "api_key"
	AuthOAuth2 AuthType = "oauth2_client_credentials"
)

// AuthStyle is how a token endpoint is given the client's credentials (RFC 6749, section 2.3.1).
type AuthStyle string

// The styles: a Basic Authorization header, or fields of the form.
const (
	StyleBasic AuthStyle = "basic"
	StyleBody  AuthStyle = "body"
)

// Bounds of what authenticates; all in bytes.
const (
	MaxCredential = 4096
	maxClientID   = 1024
	maxScopes     = 50
	maxScope      = 256
	maxParams     = 16
	maxParam      = 2048
	// maxPEM bounds a certificate with its chain, a key, and each bundle of authorities.
	maxPEM = 64 << 10
)

// Auth is how a subscription's receiver knows the sender, besides the signature: by one header of each request. Which
// fields are set follows from the type.
type Auth struct {
	Type AuthType `json:"type"`
	// Token is a bearer's.
	Token SecretText `json:"token,omitempty"`
	// Username and Password are for basic.
	Username string     `json:"username,omitempty"`
	Password SecretText `json:"password,omitempty"`
	// Header and Value are an API key's.
	Header string     `json:"header,omitempty"`
	Value  SecretText `json:"value,omitempty"`
	// The rest is for OAuth 2 client credentials (RFC 6749, section 4.4). Params are further fields of the token request.
	TokenURL     string                `json:"token_url,omitempty"`
	ClientID     string                `json:"client_id,omitempty"`
	ClientSecret SecretText            `json:"client_secret,omitempty"`
	Scopes       []string              `json:"scopes,omitempty"`
	Audience     string                `json:"audience,omitempty"`
	Params       map[string]SecretText `json:"params,omitempty"`
	Style        AuthStyle             `json:"auth_style,omitempty"`
}

// TLS is what a subscription's connections use beside the system's authorities: one of its own, and a certificate that
// is shown to the receiver. All are PEM; internal/egress reads them.
type TLS struct {
	CA          string     `json:"ca,omitempty"`
	Certificate string     `json:"certificate,omitempty"`
	Key         SecretText `json:"key,omitempty"`
}

// HeaderName is the header that carries what authenticates.
func (a *Auth) HeaderName() string {
	if a.Type == AuthAPIKey {
		return a.Header
	}
	return "Authorization"
}

func (a *Auth) setDefaults() {
	if a != nil && a.Type == AuthOAuth2 && a.Style == "" {
		a.Style = StyleBasic
	}
}

// check adds what is wrong with an authentication, but for the token URL's address, which is egress's to judge.
func (a *Auth) check(v *Violations) {
	if a == nil {
		return
	}
	a.checkFields(v)
	switch a.Type {
	case AuthBearer:
		if !visible(string(a.Token), MaxCredential) || strings.Contains(string(a.Token), " ") {
			v.Add("auth.token", "must be 1 to %d visible ASCII characters without spaces", MaxCredential)
		}
	case AuthBasic:
		a.checkBasic(v)
	case AuthAPIKey:
		if fault := CheckHeaderName(a.Header); fault != "" {
			v.Add("auth.header", "%s", fault)
		}
		if a.Value == "" || !IsHeaderValue(string(a.Value)) {
			v.Add("auth.value", "must be 1 to %d visible ASCII characters (RFC 9110, section 5.5)", MaxCredential)
		}
	case AuthOAuth2:
		a.checkOAuth2(v)
	default:
		v.Add("auth.type", "must be bearer, basic, api_key or oauth2_client_credentials")
	}
}

// checkFields refuses fields of another type: they would be kept and never used.
func (a *Auth) checkFields(v *Violations) {
	for _, f := range []struct {
		name string
		set  bool
		of   AuthType
	}{
		{"token", a.Token != "", AuthBearer},
		{"username", a.Username != "", AuthBasic},
		{"password", a.Password != "", AuthBasic},
		{"header", a.Header != "", AuthAPIKey},
		{"value", a.Value != "", AuthAPIKey},
		{"token_url", a.TokenURL != "", AuthOAuth2},
		{"client_id", a.ClientID != "", AuthOAuth2},
		{"client_secret", a.ClientSecret != "", AuthOAuth2},
		{"scopes", len(a.Scopes) > 0, AuthOAuth2},
		{"audience", a.Audience != "", AuthOAuth2},
		{"params", len(a.Params) > 0, AuthOAuth2},
		{"auth_style", a.Style != "", AuthOAuth2},
	} {
		if f.set && f.of != a.Type {
			v.Add("auth."+f.name, "belongs to the type %s; leave it out or change the type", f.of)
		}
	}
}

func (a *Auth) checkBasic(v *Violations) {
	if a.Username == "" || !printable(a.Username, 255) || strings.Contains(a.Username, ":") {
		v.Add("auth.username", "must be 1 to 255 characters without colons and control characters (RFC 7617, section 2)")
	}
	if !printable(string(a.Password), MaxCredential) {
		v.Add("auth.password", "must be at most %d characters, without control characters", MaxCredential)
	}
}

func (a *Auth) checkOAuth2(v *Violations) {
	if a.TokenURL == "" {
		v.Add("auth.token_url", "is required for oauth2_client_credentials")
	}
	if !visible(a.ClientID, maxClientID) {
		v.Add("auth.client_id", "must be 1 to %d visible ASCII characters (RFC 6749, appendix A.1)", maxClientID)
	}
	if !visible(string(a.ClientSecret), MaxCredential) {
		v.Add("auth.client_secret", "must be 1 to %d visible ASCII characters (RFC 6749, appendix A.2)", MaxCredential)
	}
	if len(a.Scopes) > maxScopes {
		v.Add("auth.scopes", "must have at most %d entries", maxScopes)
	} else {
		for i, s := range a.Scopes {
			if !visible(s, maxScope) || strings.ContainsAny(s, ` "\`) {
				v.Add("auth.scopes["+strconv.Itoa(i)+"]", `must be 1 to %d visible ASCII characters without spaces, " and \ (RFC 6749, section 3.3)`, maxScope)
			}
		}
	}
	if !printable(a.Audience, maxParam) {
		v.Add("auth.audience", "must be at most %d characters, without control characters", maxParam)
	}
	a.checkParams(v)
	if a.Style != StyleBasic && a.Style != StyleBody {
		v.Add("auth.auth_style", "must be basic or body")
	}
}

// ownParams are the fields of a token request that have a place of their own.
var ownParams = map[string]bool{
	"grant_type": true, "client_id": true, "client_secret": true, "scope": true, "audience": true,
}

func (a *Auth) checkParams(v *Violations) {
	if len(a.Params) > maxParams {
		v.Add("auth.params", "must have at most %d entries", maxParams)
		return
	}
	for name, value := range a.Params {
		switch {
		case !visible(name, 128):
			v.Add("auth.params", "names must be 1 to 128 visible ASCII characters")
		case ownParams[name]:
			v.Add("auth.params."+name, "has a field of its own in auth; it cannot be set here")
		case !printable(string(value), maxParam):
			v.Add(under("auth.params", name), "must be at most %d characters, without control characters", maxParam)
		}
	}
}

// check adds what is wrong with the sizes and the parts of the TLS settings; what is in them egress reads.
func (t *TLS) check(v *Violations) {
	if t == nil {
		return
	}
	if t.CA == "" && t.Certificate == "" && t.Key == "" {
		v.Add("tls", "must have ca, or certificate and key, or all three; null removes it")
	}
	for _, f := range []struct{ name, text string }{{"ca", t.CA}, {"certificate", t.Certificate}, {"key", string(t.Key)}} {
		if len(f.text) > maxPEM {
			v.Add("tls."+f.name, "must be at most %d KiB", maxPEM>>10)
		}
	}
	if (t.Certificate == "") != (t.Key == "") {
		v.Add("tls", "must have certificate and key together")
	}
}

// checkTaken refuses a header of the subscription's own that its authentication or its signature sets: one of the two
// would be lost.
func (s *Subscription) checkTaken(v *Violations) {
	taken := map[string]string{}
	if p := s.Signature; p != nil {
		for name := range p.Headers {
			taken[strings.ToLower(name)] = "signature"
		}
		if taken[strings.ToLower(p.Header)] != "" {
			v.Add("signature.headers", "must not name the signature's own header")
		}
		taken[strings.ToLower(p.Header)] = "signature"
	}
	if s.Auth != nil && s.Auth.HeaderName() != "" {
		name := strings.ToLower(s.Auth.HeaderName())
		if taken[name] != "" {
			v.Add("auth.header", "is a header that the signature sets; use another one")
		}
		taken[name] = "auth"
	}
	for name := range s.Headers {
		if by := taken[strings.ToLower(name)]; by != "" {
			v.Add("headers."+name, "is set by %s; remove it here", by)
		}
	}
}

// visible reports 1 to most visible ASCII characters or spaces.
func visible(s string, most int) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= most && strings.TrimSpace(s) == s
}

// printable reports at most so many characters, none of them for control.
func printable(s string, most int) bool {
	return utf8.RuneCountInString(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
