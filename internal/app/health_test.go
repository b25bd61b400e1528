package app

import (
	"context"
	"errors"
	"testing"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/api"
)

// fullStore is a store whose disk has no room; internal/sqlite's tests have it notice.
type fullStore struct{ posthorn.Store }

func (fullStore) Health(context.Context) (posthorn.StoreHealth, error) {
	return posthorn.StoreHealth{Migration: 1, Expected: 1, Full: true}, nil
}

func TestFullDiskIsDown(t *testing.T) {
	a := &App{store: fullStore{}}
	if c := a.checkDatabase(t.Context()); c.Status != api.HealthDown || c.Message == "" {
		t.Errorf("the database is %+v, want it down with a reason", c)
	}
	if err := a.ready(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("the node is ready, or not for %v", err)
	}
}
