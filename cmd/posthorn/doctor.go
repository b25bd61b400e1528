package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/posthorn/posthorn/internal/config"
	"github.com/posthorn/posthorn/internal/doctor"
)

type checkup struct {
	Reach string `default:"https://example.com/" placeholder:"URL" help:"Fetched through the egress policy, to see the way out and to compare clocks (${default})."`
	JSON  bool   `name:"json" help:"Print the findings as JSON."`
}

func (c checkup) Run(ctx context.Context, s *config.Settings) error {
	findings := doctor.Examine(ctx, doctor.Options{Settings: s, Reach: c.Reach})
	if !c.JSON {
		if doctor.Print(os.Stdout, findings) {
			return nil
		}
		return errors.New("a node would not work here; what to fix stands above")
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(findings); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Level == doctor.Failure {
			return errors.New("a node would not work here")
		}
	}
	return nil
}
