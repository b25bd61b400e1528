package api

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/signing"
)

// endpointAuth is how the receiver knows the sender, besides the signature. Secret parts are read back masked.
type endpointAuth struct {
	Type         posthorn.AuthType  `json:"type" enum:"bearer,basic,api_key,oauth2_client_credentials" required:"true"`
	Token        string             `json:"token,omitempty" maxLength:"4096" doc:"For bearer. Read back masked; the mask leaves it unchanged."`
	Username     string             `json:"username,omitempty" maxLength:"255" doc:"For basic."`
	Password     string             `json:"password,omitempty" maxLength:"4096" doc:"For basic. Read back masked."`
	Header       string             `json:"header,omitempty" maxLength:"128" doc:"For api_key: the header that carries the value." example:"X-Api-Key"`
	Value        string             `json:"value,omitempty" maxLength:"4096" doc:"For api_key. Read back masked."`
	TokenURL     string             `json:"token_url,omitempty" maxLength:"2048" doc:"For oauth2_client_credentials (RFC 6749, section 4.4): where access tokens come from. The same rules hold as for url."`
	ClientID     string             `json:"client_id,omitempty" maxLength:"1024" doc:"For oauth2_client_credentials."`
	ClientSecret string             `json:"client_secret,omitempty" maxLength:"4096" doc:"For oauth2_client_credentials. Read back masked."`
	Scopes       []string           `json:"scopes,omitempty" maxItems:"50" doc:"For oauth2_client_credentials."`
	Audience     string             `json:"audience,omitempty" maxLength:"2048" doc:"For oauth2_client_credentials, where the token endpoint wants one."`
	Params       map[string]string  `json:"params,omitempty" doc:"For oauth2_client_credentials: further fields of the token request, at most 16. Values are read back masked."`
	Style        posthorn.AuthStyle `json:"auth_style,omitempty" enum:"basic,body" doc:"For oauth2_client_credentials: how the token endpoint is given the client's credentials; basic by default."`
}

// endpointTLS is what connections to the receiver use beside the public authorities.
type endpointTLS struct {
	CA          string     `json:"ca,omitempty" maxLength:"65536" doc:"Certificates in PEM of authorities that are trusted for this subscription besides the public ones."`
	Certificate string     `json:"certificate,omitempty" maxLength:"65536" doc:"The client certificate that is shown to the receiver, in PEM, its chain after it."`
	Key         string     `json:"key,omitempty" maxLength:"65536" doc:"The certificate's private key in PEM, unencrypted. Read back masked."`
	ExpiresAt   *time.Time `json:"certificate_expires_at,omitempty" readOnly:"true" doc:"When the client certificate ends. Read-only."`
}

// signatureProfile is a second way to sign, for receivers that verify another sender's signatures.
type signatureProfile struct {
	Profile      string            `json:"profile,omitempty" enum:"standard,custom,github,shopify,slack,stripe,svix" doc:"A preset for the rest, each field of which may still be given; standard is the Standard Webhooks alone."`
	Header       string            `json:"header,omitempty" maxLength:"128" example:"X-Acme-Signature"`
	Algorithm    string            `json:"algorithm,omitempty" enum:"hmac-sha256,hmac-sha512,hmac-sha1" doc:"hmac-sha256 by default."`
	Key          string            `json:"key,omitempty" enum:"text,decoded" doc:"text (the default): the secret is the key as it is written, and may be any text of 8 to 256 characters. decoded: the key is what the base64 behind whsec_ stands for."`
	Signed       string            `json:"signed,omitempty" maxLength:"256" doc:"What is signed: text with {body} exactly once, and {id}, {timestamp} and {type} where they belong. {{ and }} are braces." example:"{timestamp}.{body}"`
	Encoding     string            `json:"encoding,omitempty" enum:"hex,base64" doc:"hex by default."`
	Value        string            `json:"value,omitempty" maxLength:"256" doc:"The header's value: text with {signature} exactly once, and {id} and {timestamp}." example:"sha256={signature}"`
	Repeat       string            `json:"repeat,omitempty" maxLength:"256" doc:"Appended for each rotated secret that still signs; without it the newest signs alone." example:",v1={signature}"`
	Headers      map[string]string `json:"headers,omitempty" doc:"At most 4 further headers, of text with {id}, {timestamp} and {type}."`
	KeepStandard *bool             `json:"keep_standard,omitempty" doc:"Whether webhook-signature is sent too; true by default."`
}

func showAuth(a *posthorn.Auth) *endpointAuth {
	if a == nil {
		return nil
	}
	is := &endpointAuth{
		Type: a.Type, Token: masked(a.Token), Username: a.Username, Password: masked(a.Password), Header: a.Header, Value: masked(a.Value),
		TokenURL: a.TokenURL, ClientID: a.ClientID, ClientSecret: masked(a.ClientSecret), Scopes: a.Scopes, Audience: a.Audience, Style: a.Style,
	}
	for name := range a.Params {
		if is.Params == nil {
			is.Params = make(map[string]string, len(a.Params))
		}
		is.Params[name] = posthorn.Mask
	}
	return is
}

func showTLS(t *posthorn.TLS) *endpointTLS {
	if t == nil {
		return nil
	}
	is := &endpointTLS{CA: t.CA, Certificate: t.Certificate, Key: masked(t.Key)}
	if identity, err := egress.ParseIdentity(t); err == nil && identity.Certificate() != nil {
		is.ExpiresAt = optional(identity.Certificate().NotAfter)
	}
	return is
}

// showSignature is the profile spelt out; of the standard one there is nothing to say.
func showSignature(p *posthorn.SignatureProfile) signatureProfile {
	if p == nil {
		return signatureProfile{Profile: posthorn.ProfileStandard}
	}
	return signatureProfile{
		Profile: p.Profile, Header: p.Header, Algorithm: p.Algorithm, Key: p.Key, Signed: p.Signed, Encoding: p.Encoding,
		Value: p.Value, Repeat: p.Repeat, Headers: p.Headers, KeepStandard: &p.KeepStandard,
	}
}

func masked(s posthorn.SecretText) string {
	if s == "" {
		return ""
	}
	return posthorn.Mask
}

// unmask gives the secret that a written text means: the mask is the one it masks.
func unmask(v *posthorn.Violations, field, text string, had posthorn.SecretText) posthorn.SecretText {
	if text != posthorn.Mask {
		return posthorn.SecretText(text)
	}
	if had == "" {
		v.Add(field, posthorn.NothingMasked)
	}
	return had
}

// apply gives the authentication wanted, where had is the present one.
func (in *endpointAuth) apply(v *posthorn.Violations, had *posthorn.Auth) *posthorn.Auth {
	if in == nil {
		return nil
	}
	if had == nil {
		had = &posthorn.Auth{}
	}
	a := &posthorn.Auth{
		Type: in.Type, Username: in.Username, Header: in.Header, TokenURL: in.TokenURL, ClientID: in.ClientID,
		Scopes: in.Scopes, Audience: in.Audience, Style: in.Style,
		Token:        unmask(v, "auth.token", in.Token, had.Token),
		Password:     unmask(v, "auth.password", in.Password, had.Password),
		Value:        unmask(v, "auth.value", in.Value, had.Value),
		ClientSecret: unmask(v, "auth.client_secret", in.ClientSecret, had.ClientSecret),
	}
	for name, value := range in.Params {
		if a.Params == nil {
			a.Params = make(map[string]posthorn.SecretText, len(in.Params))
		}
		a.Params[name] = unmask(v, "auth.params."+shown(name), value, had.Params[name])
	}
	return a
}

func (in *endpointTLS) apply(v *posthorn.Violations, had *posthorn.TLS) *posthorn.TLS {
	if in == nil {
		return nil
	}
	if had == nil {
		had = &posthorn.TLS{}
	}
	return &posthorn.TLS{CA: in.CA, Certificate: in.Certificate, Key: unmask(v, "tls.key", in.Key, had.Key)}
}

func (in *signatureProfile) apply(v *posthorn.Violations) *posthorn.SignatureProfile {
	if in == nil {
		return nil
	}
	if in.Profile == posthorn.ProfileStandard {
		if bare := *in; bare.Header+bare.Algorithm+bare.Key+bare.Signed+bare.Encoding+bare.Value+bare.Repeat != "" || len(bare.Headers) > 0 || bare.KeepStandard != nil && !*bare.KeepStandard {
			v.Add("signature", "standard has nothing else to say; leave the other fields out, or use the profile custom")
		}
		return nil
	}
	p := signing.Expand(posthorn.SignatureProfile{
		Profile: in.Profile, Header: in.Header, Algorithm: in.Algorithm, Key: in.Key, Signed: in.Signed, Encoding: in.Encoding,
		Value: in.Value, Repeat: in.Repeat, Headers: in.Headers, KeepStandard: in.KeepStandard == nil || *in.KeepStandard,
	})
	return &p
}

// checkEndpoint checks what other rooms know of: the token URL, the certificates, the signature's templates. Had are the
// TLS settings before: what is kept may have expired since, what is new must not.
func (h *Handler) checkEndpoint(v *posthorn.Violations, s *posthorn.Subscription, had *posthorn.TLS) {
	if s.Auth != nil && s.Auth.TokenURL != "" {
		if err := h.opts.URLs.CheckURL(s.Auth.TokenURL); err != nil {
			v.Add("auth.token_url", "%s", err.Error())
		}
	}
	if s.TLS != nil {
		h.checkTLS(v, s, had)
	}
	if s.Signature == nil {
		return
	}
	p, err := signing.ParseProfile(s.Signature)
	if err != nil {
		collect(v, err)
		return
	}
	if len(s.Secrets) > 0 {
		if _, err := p.ParseSecret(string(s.Secrets[0].Value)); err != nil {
			v.Add("signature", "does not go with the present secret, as %s; rotate it first, or send another one along", err)
		}
	}
}

func (h *Handler) checkTLS(v *posthorn.Violations, s *posthorn.Subscription, had *posthorn.TLS) {
	identity, err := egress.ParseIdentity(s.TLS)
	if err != nil {
		collect(v, err)
		return
	}
	if had == nil || *s.TLS != *had {
		if part := identity.Expired(h.store.Now()); part != "" {
			v.Add("tls."+part, "has expired or is not valid yet")
		}
	}
	if strings.HasPrefix(strings.ToLower(s.URL), "http:") {
		v.Add("tls", "needs an https url")
	}
}

// changedCredentials names the parts of the authentication that are others than before, which their masks do not show.
func changedCredentials(s, was *posthorn.Subscription) []string {
	var changed []string
	a, b := s.Auth, was.Auth
	if a == nil {
		a = &posthorn.Auth{}
	}
	if b == nil {
		b = &posthorn.Auth{}
	}
	for name, differ := range map[string]bool{
		"auth.token": a.Token != b.Token, "auth.password": a.Password != b.Password, "auth.value": a.Value != b.Value,
		"auth.client_secret": a.ClientSecret != b.ClientSecret, "auth.params": !maps.Equal(a.Params, b.Params),
		"tls.key": keyOf(s) != keyOf(was),
	} {
		if differ {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

func keyOf(s *posthorn.Subscription) posthorn.SecretText {
	if s.TLS == nil {
		return ""
	}
	return s.TLS.Key
}
