package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/signing"
)

// verifyingBy wants every request of a subscriber to verify otherwise than by the story's secret.
func verifyingBy(s *Story, sub *Subscriber, verify func(http.Header, []byte) error) {
	s.Do(At(0), "verify by other means", func(*Node) { sub.Receiver.VerifyWith(verify) })
}

// TestStoryAsymmetricSignature: an Ed25519 key signs as v1a alone, on retries too, and its public half verifies.
func TestStoryAsymmetricSignature(t *testing.T) {
	key := signing.GenerateEd25519()
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.Secrets[0].Value = posthorn.SecretText(key.Secret().Reveal()) })
	verifyingBy(s, shop, func(h http.Header, body []byte) error {
		public, err := signing.ParsePublicKey(key.Public())
		if err != nil {
			return err
		}
		if got := h.Get("webhook-signature"); !strings.HasPrefix(got, "v1a,") || strings.Contains(got, " ") {
			return fmt.Errorf("signed %q", got)
		}
		return signing.Verify(h, body, time.Now(), public)
	})
	s.Reply(shop, 503, 200)
	paid := s.Publish(At(time.Second), "invoice.paid")
	s.Want(shop, At(time.Second), Of(paid), Attempt(1))
	s.Want(shop, Between(5*time.Second, 7*time.Second), Of(paid), Attempt(2))
	s.Run()
}

// TestStorySignatureProfile: a receiver that verifies another sender's signatures takes ours, before and after a rotation.
func TestStorySignatureProfile(t *testing.T) {
	for name, keep := range map[string]bool{"Alone": false, "BesideTheStandard": true} {
		t.Run(name, func(t *testing.T) {
			s := NewStory(t)
			shop := s.Subscribe("shop", func(s *posthorn.Subscription) {
				profile := signing.Expand(posthorn.SignatureProfile{Profile: "github", KeepStandard: keep})
				s.Signature = &profile
			})
			trusted := shop.Secret
			verifyingBy(s, shop, func(h http.Header, body []byte) error {
				if got := h.Get("webhook-signature") != ""; got != keep {
					return fmt.Errorf("the standard signature is there: %v", got)
				}
				return signing.VerifyGitHub(h, body, trusted)
			})
			first := s.Publish(At(time.Second), "invoice.paid")
			s.Do(At(time.Minute), "rotate", func(n *Node) {
				fresh := NewSecret()
				n.Update(shop.ID, func(s *posthorn.Subscription) {
					s.Secrets[0].ExpiresAt = n.Store.Now().Add(7 * 24 * time.Hour)
					s.Secrets = append([]posthorn.Secret{{Value: posthorn.SecretText(fresh), CreatedAt: n.Store.Now()}}, s.Secrets...)
				})
				// This header holds one signature: the newest secret's.
				trusted = fresh
			})
			second := s.Publish(At(2*time.Minute), "invoice.paid")
			s.Want(shop, At(time.Second), Of(first), Attempt(1))
			s.Want(shop, At(2*time.Minute), Of(second), Attempt(1))
			s.Run()
		})
	}
}

// TestStoryRevokedSecret: a secret that is revoked signs nothing any more from that moment, what waits in the lane included.
func TestStoryRevokedSecret(t *testing.T) {
	s := NewStory(t)
	shop := s.Subscribe("shop", func(s *posthorn.Subscription) { s.MaxInFlight = 1 })
	s.Reply(shop, Status(200).After(2*time.Second), 200)
	many(s, 0, 5)
	fresh := NewSecret()
	s.Do(At(time.Second), "revoke", func(n *Node) {
		n.Update(shop.ID, func(s *posthorn.Subscription) {
			s.Secrets = []posthorn.Secret{{Value: posthorn.SecretText(fresh), CreatedAt: n.Store.Now()}}
		})
		shop.Receiver.VerifyWith(ByReference(fresh))
	})
	s.Want(shop, At(0))
	for range 4 {
		s.Want(shop, Between(2*time.Second, 3*time.Second))
	}
	s.Run()
}
