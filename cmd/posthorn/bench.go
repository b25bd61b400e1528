package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/posthorn/posthorn/internal/bench"
)

type benchmark struct {
	Scenarios []string       `arg:"" optional:"" help:"Which to run (default: all)."`
	Target    string         `help:"URL of a running server (default: one is started for each scenario)."`
	Key       string         `help:"API key for the target."`
	Duration  time.Duration  `default:"10s" help:"Length of each timed scenario."`
	Clients   int            `default:"64" help:"Connections of a closed loop."`
	Baseline  bool           `help:"Run the same loop without storage too and print the ratios."`
	Watch     map[string]int `help:"Processes to report beside the server, such as postgres=PID."`
	JSON      string         `name:"json" placeholder:"FILE" help:"Write the figures as JSON."`
	ForwardTo string         `hidden:"" help:"Be the forwarder without storage."`
}

func (b benchmark) Run(ctx context.Context) error {
	if b.ForwardTo != "" {
		return bench.Forward(ctx, b.ForwardTo, os.Stdout)
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	report, err := bench.Run(ctx, bench.Options{
		Binary: binary, Target: b.Target, Key: b.Key, Scenarios: b.Scenarios, Duration: b.Duration, Clients: b.Clients,
		Baseline: b.Baseline, Watch: b.Watch, Log: os.Stdout,
	})
	if err != nil || b.JSON == "" {
		return err
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.JSON, append(text, '\n'), 0o644)
}
