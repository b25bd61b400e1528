package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
)

// keys work on the store itself, so that a lost admin key can be replaced. With the embedded store the service must not
// be running; use POST /keys then.
type keys struct {
	Create createKey  `cmd:"" help:"Create a key and print it once."`
	List   listKeys   `cmd:"" help:"List keys; their texts are not kept and cannot be shown."`
	Revoke revokeKey  `cmd:"" help:"Revoke a key by its id."`
	Reseal resealKeys `cmd:"" help:"Bring every secret at rest under the first key of POSTHORN_ENCRYPTION_KEYS, so that the others can go."`
}

type createKey struct {
	Name   string        `arg:"" help:"What the key is for."`
	Scopes []string      `enum:"publish,read,manage,admin" default:"admin" help:"What it may do: ${enum}."`
	TTL    time.Duration `help:"How long it lasts (default: until revoked)."`
	Tenant string        `default:"default" help:"Name of its tenant."`
}

func (c createKey) Run(ctx context.Context, s *config.Settings) error {
	return onStore(ctx, s, func(store posthorn.Store) error {
		text, key, err := app.CreateKey(ctx, store, c.Tenant, c.Name, c.Scopes, c.TTL)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, key.ID, "created; the key is shown this once:")
		fmt.Println(text)
		return nil
	})
}

type listKeys struct {
	Tenant string `default:"default" help:"Name of the tenant."`
}

func (c listKeys) Run(ctx context.Context, s *config.Settings) error {
	return onStore(ctx, s, func(store posthorn.Store) error {
		tenant, err := store.FindTenant(ctx, c.Tenant)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tKEY\tNAME\tSCOPES\tSTATE\tCREATED")
		page := posthorn.Page{Limit: 200}
		for {
			list, next, err := store.ListKeys(ctx, tenant.ID, page)
			if err != nil {
				return err
			}
			for i := range list {
				printKey(w, &list[i], store.Now())
			}
			if next.IsZero() {
				return w.Flush()
			}
			page.Before = next
		}
	})
}

func printKey(w *tabwriter.Writer, k *posthorn.Key, now time.Time) {
	scopes := make([]string, len(k.Scopes))
	for i, scope := range k.Scopes {
		scopes[i] = string(scope)
	}
	state := "active"
	switch {
	case !k.RevokedAt.IsZero():
		state = "revoked"
	case !k.Usable(now):
		state = "expired"
	}
	fmt.Fprintf(w, "%s\t%s…\t%s\t%s\t%s\t%s\n", k.ID, k.Prefix, k.Name, strings.Join(scopes, ","), state,
		k.CreatedAt.UTC().Format(time.RFC3339))
}

type revokeKey struct {
	ID     string `arg:"" help:"The key's id (key_…)."`
	Tenant string `default:"default" help:"Name of the tenant."`
}

func (c revokeKey) Run(ctx context.Context, s *config.Settings) error {
	return onStore(ctx, s, func(store posthorn.Store) error {
		return app.RevokeKey(ctx, store, c.Tenant, c.ID)
	})
}
