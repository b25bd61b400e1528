package api

import (
	"context"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/signing"
)

const (
	// defaultOverlap and maxOverlap are how long a rotated secret goes on signing beside the new one.
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 7 * 24 * time.Hour
	// maxSecrets bounds the secrets that sign at once.
	maxSecrets = 5
)

func (h *Handler) registerSecrets() {
	handle(h, operation{
		method: http.MethodGet, path: "/subscriptions/{id}/secret", id: "getSecret", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "secret.reveal", summary: "Read the signing secret",
	}, h.getSecret)
	handleBody(h, operation{
		method: http.MethodPost, path: "/subscriptions/{id}/secret/rotate", id: "rotateSecret", tag: "Subscriptions", scope: posthorn.ScopeManage,
		audit: "secret.rotate", summary: "Rotate the signing secret", example: map[string]any{"overlap_seconds": 86400},
		description: "The new secret signs at once; until the overlap ends deliveries carry a signature of the old one too, so that receivers can change over in their own time. " +
			"The body may be `{}`.",
		refusals: []int{http.StatusConflict},
	}, h.rotateSecret)
}

// secretView shows the secrets that sign at present.
type secretView struct {
	Secret    string      `json:"secret" example:"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"`
	PublicKey *string     `json:"public_key" doc:"The whpk_… key that verifies v1a signatures; null with a shared secret."`
	CreatedAt time.Time   `json:"created_at"`
	Previous  []oldSecret `json:"previous" doc:"Rotated secrets that still sign."`
}

type oldSecret struct {
	Secret    string    `json:"secret"`
	ExpiresAt time.Time `json:"expires_at"`
}

type rotation struct {
	Secret         secretText `json:"secret,omitempty" doc:"The new secret; absent makes one of the same kind."`
	OverlapSeconds *float64   `json:"overlap_seconds,omitempty" minimum:"0" maximum:"604800" doc:"How long the old secret goes on signing; 24 hours by default. 0 ends it at once."`
}

// overlap is how long the old secret goes on.
func (in *rotation) overlap() (time.Duration, error) {
	switch {
	case in.OverlapSeconds == nil:
		return defaultOverlap, nil
	case *in.OverlapSeconds < 0 || *in.OverlapSeconds > maxOverlap.Seconds():
		return 0, invalid("body.overlap_seconds", "must be from 0 to 604800 (7 days)")
	}
	return time.Duration(*in.OverlapSeconds * float64(time.Second)), nil
}

func (h *Handler) getSecret(ctx context.Context, c *call, p *subscriptionPath) (*reply[secretView], error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.store.GetSubscription(ctx, c.tenant(), id)
	if err != nil {
		return nil, err
	}
	if s.Unreadable != "" {
		return nil, posthorn.Locked(subscriptionNoun, s.Unreadable)
	}
	return replyWith(h.showSecrets(s)), nil
}

func (h *Handler) showSecrets(s *posthorn.Subscription) secretView {
	view := secretView{PublicKey: publicKey(s)}
	for i, secret := range s.Live(h.store.Now()) {
		if i == 0 {
			view.Secret, view.CreatedAt = string(secret.Value), secret.CreatedAt.UTC()
			continue
		}
		view.Previous = append(view.Previous, oldSecret{string(secret.Value), secret.ExpiresAt.UTC()})
	}
	return view
}

func (h *Handler) rotateSecret(ctx context.Context, c *call, p *subscriptionPath, in *rotation) (*reply[secretView], error) {
	overlap, err := in.overlap()
	if err != nil {
		return nil, err
	}
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	s, err := h.alter(ctx, c.tenant(), id, func(s *posthorn.Subscription) error {
		key, err := nextSecret(in.Secret, s)
		if err != nil {
			return err
		}
		return rotate(s, key, overlap, h.store.Now())
	})
	if err != nil {
		return nil, err
	}
	return replyWith(h.showSecrets(s)), nil
}

// newSecret reads a secret a client gave for a subscription, or makes one.
func newSecret(text secretText, s *posthorn.Subscription) (*signing.Key, error) {
	if text == "" {
		return signing.GenerateHMAC(), nil
	}
	parse := signing.ParseSecret
	if s.Signature != nil {
		p, err := signing.ParseProfile(s.Signature)
		if err != nil {
			return nil, under("body", err)
		}
		parse = p.ParseSecret
	}
	key, err := parse(string(text))
	if err != nil {
		return nil, invalid("body.secret", "%s", err.Error())
	}
	return key, nil
}

// nextSecret is newSecret in a rotation: made ones are of the kind there was, and the present one is no rotation.
func nextSecret(text secretText, s *posthorn.Subscription) (*signing.Key, error) {
	if text == "" && publicKey(s) != nil {
		return signing.GenerateEd25519(), nil
	}
	if text != "" && len(s.Secrets) > 0 && string(s.Secrets[0].Value) == string(text) {
		return nil, invalid("body.secret", "is the present secret; send another, or none to have one made")
	}
	return newSecret(text, s)
}

// rotate puts a new secret before the present ones, which expire with the overlap at the latest. Conflict when that were more
// than may sign at once: to drop one that a receiver still goes by is a person's to decide.
func rotate(s *posthorn.Subscription, key *signing.Key, overlap time.Duration, now time.Time) error {
	end := now.Add(overlap)
	kept := []posthorn.Secret{stored(key, now)}
	if overlap > 0 {
		kept = append(kept, s.Live(now)...)
	}
	if len(kept) > maxSecrets {
		return posthorn.NewError(posthorn.Conflict,
			"%d secrets sign already; wait until one expires, revoke one, or rotate with overlap_seconds 0", maxSecrets)
	}
	for i := range kept[1:] {
		if old := &kept[i+1]; old.ExpiresAt.IsZero() || old.ExpiresAt.After(end) {
			old.ExpiresAt = end
		}
	}
	s.Secrets = kept
	return nil
}

// publicKey is the text that verifies the newest secret's signatures, where it is an asymmetric one.
func publicKey(s *posthorn.Subscription) *string {
	if len(s.Secrets) == 0 {
		return nil
	}
	key, err := signing.ParseSecret(string(s.Secrets[0].Value))
	if err != nil {
		return nil
	}
	return nonEmpty(key.Public())
}
