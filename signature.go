package posthorn

// The names of signature profiles that need no preset: the Standard Webhooks alone, and one that is spelt out.
const (
	ProfileStandard = "standard"
	ProfileCustom   = "custom"
)

// SignatureProfile is a second way in which a subscription's deliveries are signed, for receivers that verify another
// sender's signatures. internal/signing checks it, knows the presets, and signs with it.
type SignatureProfile struct {
	// Profile is the preset it came from, or custom.
	Profile string `json:"profile"`
	// Header carries the signature.
	Header string `json:"header"`
	// Algorithm is hmac-sha256, hmac-sha512 or hmac-sha1.
	Algorithm string `json:"algorithm"`
	// Key says how the secret becomes the key: its text as it is, or what the base64 after its prefix stands for.
	Key string `json:"key"`
	// Signed is the template of what is signed, with {body} exactly once; id, timestamp and type may stand beside.
	Signed string `json:"signed"`
	// Encoding of the signature is hex or base64.
	Encoding string `json:"encoding"`
	// Value is the template of the header's value, with {signature} exactly once. Repeat is appended for each further
	// secret that signs; without it only the newest does.
	Value  string `json:"value"`
	Repeat string `json:"repeat,omitempty"`
	// Headers are templates of further headers.
	Headers map[string]string `json:"headers,omitempty"`
	// KeepStandard keeps the Standard Webhooks' signature beside.
	KeepStandard bool `json:"keep_standard"`
}
