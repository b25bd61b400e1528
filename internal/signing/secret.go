package signing

import (
	"fmt"
	"io"
	"log/slog"
)

// mask stands wherever a secret would have been printed.
const mask = "[secret]"

// Secret is text that must not be seen by accident: every way of printing or encoding it gives a mask. Only Reveal,
// which a reader can search for, gives the text. The zero Secret is the absent one.
type Secret struct {
	// A pointer, because fmt cannot call the methods of a Secret that sits in someone's unexported field: it then walks
	// the fields itself, and of a pointer it prints the address.
	text *string
}

// NewSecret guards a text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal is the text itself, for the one answer that shows it and for sealing it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports the absent or empty secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String is a mask.
func (Secret) String() string { return mask }

// GoString is a mask (%#v).
func (Secret) GoString() string { return mask }

// Format is a mask for every verb: the likes of %d would otherwise go around String.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, mask) }

// LogValue is a mask in log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText is a mask in every encoder of text.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON is a mask in JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
