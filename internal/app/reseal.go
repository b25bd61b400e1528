package app

import (
	"context"
	"errors"
	"fmt"
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
	sum := posthorn.ResealReport{Keys: map[string]int{}}
	keys, err := s.Keys()
	if err != nil {
		return sum, err
	}
	for step := (posthorn.ResealStep{Limit: resealBatch, Check: check}); !sum.Done; {
		r, err := store.Reseal(ctx, keys, step)
		if err != nil {
			return sum, fmt.Errorf("reseal: %w", err)
		}
		sum.Examined += r.Examined
		sum.Resealed += r.Resealed
		sum.Unreadable += r.Unreadable
		for id, n := range r.Keys {
			sum.Keys[id] += n
		}
		sum.Done, step.At = r.Done, r.Next
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
			case r.Unreadable > 0:
				a.log.Error("secrets cannot be opened: put the keys they are sealed under back into POSTHORN_ENCRYPTION_KEYS", "keys", r.Keys, "rows", r.Unreadable)
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
