package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/config"
)

// resealBatch is how many rows one step looks at: some milliseconds of work.
const resealBatch = 200

// Reseal brings everything sealed under the first of the settings' keys, in bounded steps, beside running nodes and as
// often as wanted; progress is told of each step's sum. With check it only counts.
func Reseal(ctx context.Context, s *config.Settings, store posthorn.Store, check bool, progress func(posthorn.ResealReport)) (posthorn.ResealReport, error) {
	var sum posthorn.ResealReport
	keys, err := s.Keys()
	if err != nil {
		return sum, err
	}
	for step := (posthorn.ResealStep{Limit: resealBatch, Check: check}); !sum.Done; {
		r, err := store.Reseal(ctx, keys, step)
		if err != nil {
			return sum, fmt.Errorf("reseal: %w", err)
		}
		sum.Add(r)
		step.At = r.Next
		if progress != nil {
			progress(sum)
		}
	}
	return sum, nil
}

// OldKeysNeeded says which keys other than the first are still needed, or nil.
func OldKeysNeeded(r posthorn.ResealReport) error {
	if len(r.Keys) == 0 {
		return nil
	}
	text := ""
	for _, id := range slices.Sorted(maps.Keys(r.Keys)) {
		text += fmt.Sprintf(", key %s by %d", id, r.Keys[id])
	}
	return errors.New("other keys than the first are still needed: " + text[2:])
}

// checkSecrets keeps a node from sealing under a key that no other node has: it refuses a store none of whose oldest secrets opens
// with the settings' keys, and logs where some do not.
func checkSecrets(ctx context.Context, s *config.Settings, store posthorn.Store, log *slog.Logger) error {
	keys, err := s.Keys()
	if err != nil {
		return err
	}
	r, err := posthorn.Glance(ctx, keys, store.Reseal)
	if err != nil {
		return fmt.Errorf("look whether the secrets open: %w", err)
	}
	if r.NoneOpens() && !s.LostKeys {
		return fmt.Errorf("the store is sealed under another key than those of %s: %s; put the right key there, or go on without them with POSTHORN_LOST_KEYS=true", s.KeysFrom(), r.Unopened())
	}
	if r.Unreadable > 0 {
		log.Error("secrets do not open: put the keys that they are sealed under at the end of "+s.KeysFrom()+"; posthorn keys reseal --check names them",
			"looked_at", r.Readable+r.Unreadable, "unopened", r.Unreadable)
	}
	return nil
}

// resealAtStart brings an embedded store under its first key in the background: no other process could, while it runs.
func (a *App) resealAtStart() {
	if a.settings.Postgres() {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	a.add("reseal", func(context.Context) error {
		go func() {
			defer close(done)
			r, err := Reseal(ctx, a.settings, a.store, false, nil)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				a.log.Error("secrets not brought under the first key", "error", err)
			case r.Resealed > 0:
				a.log.Info("secrets brought under the first key; the other keys are no longer needed", "rows", r.Resealed)
			}
		}()
		return nil
	}, func(context.Context) {
		end()
		<-done
	})
}
