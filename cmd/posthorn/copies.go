package main

import (
	"context"
	"os"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/config"
)

type backup struct {
	File string `arg:"" help:"The file to make; it must not exist."`
}

func (b backup) Run(ctx context.Context, s *config.Settings) error {
	if err := s.Resolve(); err != nil {
		return err
	}
	return app.Backup(ctx, s, b.File, os.Stdout)
}

type restore struct {
	File  string `arg:"" help:"A file that posthorn backup has made."`
	Force bool   `help:"Replace the store that is there."`
}

func (r restore) Run(ctx context.Context, s *config.Settings) error {
	if err := s.Resolve(); err != nil {
		return err
	}
	return app.Restore(ctx, s, r.File, r.Force, os.Stdout)
}

type move struct {
	To string `required:"" env:"TARGET_DATABASE_URL" placeholder:"URL" help:"An empty PostgreSQL database: postgres://…"`
}

func (m move) Run(ctx context.Context, s *config.Settings) error {
	if err := s.Resolve(); err != nil {
		return err
	}
	return app.Move(ctx, s, m.To, os.Stdout)
}
