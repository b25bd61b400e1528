package hooktest

import (
	"errors"
	"net/http"

	reference "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/posthorn/posthorn/internal/signing"
)

// NewSecret makes a shared secret.
func NewSecret() string { return signing.GenerateHMAC().Secret().Reveal() }

// ByReference verifies with the specification's own library: one of the secrets must have signed.
func ByReference(secrets ...string) func(http.Header, []byte) error {
	return func(h http.Header, body []byte) error {
		var errs []error
		for _, secret := range secrets {
			verifier, err := reference.NewWebhook(secret)
			if err == nil {
				err = verifier.Verify(body, h)
			}
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}
