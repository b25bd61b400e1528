package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

func (h *Handler) registerSigningKeys() {
	handle(h, operation{
		method: http.MethodGet, path: "/subscriptions/{id}/secrets", id: "listSecrets", tag: "Subscriptions", scope: posthorn.ScopeRead,
		summary: "List what signs at present", description: "The newest first, without the secrets themselves: a fingerprint tells which is which.",
	}, h.listSecrets)
	handle(h, operation{
		method: http.MethodDelete, path: "/subscriptions/{id}/secrets/{secret_id}", id: "revokeSecret", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "secret.revoke", summary: "Revoke a rotated secret now", status: http.StatusNoContent,
		description: "It ceases to sign at once, whatever is left of its overlap. The newest cannot be revoked: rotate it first.",
		refusals:    []int{http.StatusConflict},
	}, h.revokeSecret)
	handle(h, operation{
		method: http.MethodPost, path: "/subscriptions/{id}/secrets/revoke", id: "revokeSecrets", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "secret.revoke", summary: "Revoke all rotated secrets now",
		description: "Only the newest goes on signing. Without rotated ones nothing changes.",
	}, h.revokeSecrets)
}

// signingSecret is what can be said of a secret without telling it.
type signingSecret struct {
	ID          string     `json:"id" example:"sec_5f1d0c2b9a7e4f63"`
	Kind        string     `json:"kind" enum:"hmac,ed25519"`
	Fingerprint *string    `json:"fingerprint" example:"9f86d081884c7d65" doc:"The first 16 digits of the SHA-256 of the secret as it is written, or of the public key; null for a text of your own, which could be guessed by it."`
	PublicKey   *string    `json:"public_key" doc:"The whpk_… key that verifies v1a signatures; null with a shared secret."`
	Newest      bool       `json:"newest" doc:"The one that is shown at /secret and goes on signing."`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at" doc:"When it ceases to sign; null is not at all."`
}

type signingSecrets struct {
	Data []signingSecret `json:"data" nullable:"false"`
}

type secretPath struct {
	ID     string `path:"id" doc:"The subscription's id." example:"sub_06f1kz9qj4v3g7c8n2m5x0y1za"`
	Secret string `path:"secret_id" doc:"The secret's id, from the list of secrets."`
}

// stored is a new secret as the subscription keeps it.
func stored(key *signing.Key, now time.Time) posthorn.Secret {
	id := make([]byte, 8)
	// crypto/rand never fails on the platforms Go supports.
	_, _ = rand.Read(id)
	return posthorn.Secret{ID: secretPrefix + hex.EncodeToString(id), Value: posthorn.SecretText(key.Secret().Reveal()), CreatedAt: now}
}

const secretPrefix = "sec_"

// secretID names a secret. Those from before there were ids are named by when they were made.
func secretID(s *posthorn.Subscription, secret posthorn.Secret) string {
	if secret.ID != "" {
		return secret.ID
	}
	sum := sha256.Sum256([]byte(s.ID.String() + secret.CreatedAt.UTC().Format(time.RFC3339Nano)))
	return secretPrefix + hex.EncodeToString(sum[:8])
}

func (h *Handler) showSigning(s *posthorn.Subscription) signingSecrets {
	list := signingSecrets{Data: []signingSecret{}}
	for i, secret := range s.Live(h.store.Now()) {
		is := signingSecret{
			ID: secretID(s, secret), Kind: "hmac", Newest: i == 0, CreatedAt: secret.CreatedAt.UTC(), ExpiresAt: optional(secret.ExpiresAt),
		}
		if key, err := signing.ParseSecret(string(secret.Value)); err == nil {
			fingerprinted := string(secret.Value)
			if public := key.Public(); public != "" {
				is.Kind, is.PublicKey, fingerprinted = "ed25519", &public, public
			}
			sum := sha256.Sum256([]byte(fingerprinted))
			is.Fingerprint = nonEmpty(hex.EncodeToString(sum[:8]))
		}
		list.Data = append(list.Data, is)
	}
	return list
}

func (h *Handler) listSecrets(ctx context.Context, c *call, p *subscriptionPath) (*reply[signingSecrets], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.store.GetSubscription(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	return replyWith(h.showSigning(s)), nil
}

func (h *Handler) revokeSecret(ctx context.Context, c *call, p *secretPath) (*nothing, error) {
	id, err := pathID[posthorn.SubscriptionID](subscriptionNoun, p.ID)
	if err != nil {
		return nil, err
	}
	_, err = h.revoke(ctx, c, id, func(s *posthorn.Subscription, live []posthorn.Secret) ([]posthorn.Secret, error) {
		i := slices.IndexFunc(live, func(secret posthorn.Secret) bool { return secretID(s, secret) == p.Secret })
		switch {
		case i < 0 || !strings.HasPrefix(p.Secret, secretPrefix):
			return nil, posthorn.Absent("secret")
		case i == 0:
			return nil, posthorn.NewError(posthorn.Conflict, "the newest secret cannot be revoked, as nothing would sign then; rotate it with overlap_seconds 0")
		}
		return slices.Delete(live, i, i+1), nil
	})
	return nil, err
}

func (h *Handler) revokeSecrets(ctx context.Context, c *call, p *subscriptionPath) (*reply[signingSecrets], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.revoke(ctx, c, id, func(_ *posthorn.Subscription, live []posthorn.Secret) ([]posthorn.Secret, error) {
		return live[:min(len(live), 1)], nil
	})
	if err != nil {
		return nil, err
	}
	return replyWith(h.showSigning(s)), nil
}

// revoke leaves those of the live secrets that keep gives, and tells of the others.
func (h *Handler) revoke(ctx context.Context, c *call, id posthorn.SubscriptionID,
	keep func(s *posthorn.Subscription, live []posthorn.Secret) ([]posthorn.Secret, error),
) (*posthorn.Subscription, error) {
	var revoked []string
	s, err := h.alter(ctx, c.tenant(), id, func(s *posthorn.Subscription) error {
		live := s.Live(h.store.Now())
		revoked = nil
		kept, err := keep(s, slices.Clone(live))
		if err != nil {
			return err
		}
		for _, secret := range live {
			if !slices.ContainsFunc(kept, func(k posthorn.Secret) bool { return secretID(s, k) == secretID(s, secret) }) {
				revoked = append(revoked, secretID(s, secret))
			}
		}
		s.Secrets = kept
		return nil
	})
	if err == nil && len(revoked) > 0 {
		h.announce(ctx, s.TenantID, typeSecretRevoked, map[string]any{
			"subscription_id": s.ID.String(), "secret_ids": revoked, "at": s.UpdatedAt.UTC(),
		})
	}
	return s, err
}
