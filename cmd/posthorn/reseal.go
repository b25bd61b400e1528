package main

import (
	"context"
	"fmt"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
)

// resealKeys needs no pause of a cluster: nodes go on meanwhile. It may be broken off and run again.
type resealKeys struct {
	Check bool `help:"Change nothing; exit 1 while a key other than the first is still needed."`
}

func (c resealKeys) Run(ctx context.Context, s *config.Settings) error {
	return onStore(ctx, s, func(store posthorn.Store) error {
		last := 0
		report, err := app.Reseal(ctx, s, store, c.Check, func(r posthorn.ResealReport) {
			if r.Examined-last >= 10_000 {
				last = r.Examined
				fmt.Printf("%d looked at, %d resealed\n", r.Examined, r.Resealed)
			}
		})
		if err != nil {
			return err
		}
		word := "resealed"
		if c.Check {
			word = "to reseal"
		}
		fmt.Printf("%d looked at, %d %s, %d that no key opens\n", report.Examined, report.Resealed, word, report.Unreadable)
		if !c.Check {
			// What was sealed under another key meanwhile, by a node with older settings, shows only in another look.
			if report, err = app.Reseal(ctx, s, store, true, nil); err != nil {
				return err
			}
		}
		if err := app.OldKeysNeeded(report); err != nil {
			return err
		}
		fmt.Println("only the first key of", s.KeysFrom(), "is needed")
		return nil
	})
}
