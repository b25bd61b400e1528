package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn/internal/bench"
)

type benchmark struct {
	Scenarios []string       `arg:"" optional:"" help:"Which to run (default: all)."`
	Target    string         `help:"URL of a running server that reaches 127.0.0.1 (default: one is started for each scenario)."`
	Key       string         `help:"API key for the target."`
	Duration  time.Duration  `default:"10s" help:"Length of each timed scenario; some last four times as long."`
	Clients   int            `default:"64" help:"Connections of a closed loop."`
	Stored    int            `help:"Deliveries that the scenario lists stores first (default: a million)."`
	Baseline  bool           `help:"Take turns with a forwarder that stores nothing and print the ratios."`
	Second    []string       `placeholder:"NAME=VALUE" help:"Environment of a second server, such as another DATABASE_URL: scenarios that are held against others need its store, but over SQLite."`
	Watch     map[string]int `help:"Processes to report beside the server, such as postgres=PID."`
	Before    string         `placeholder:"COMMAND" help:"Shell command before each scenario, such as one that empties the database."`
	JSON      string         `name:"json" placeholder:"FILE" help:"Write the figures as JSON."`
	ForwardTo string         `hidden:"" help:"Be the forwarder without storage."`
	Document  string         `hidden:"" placeholder:"FILE" help:"Write the document of the results in bench/results."`
}

func (b benchmark) Run(ctx context.Context) error {
	if b.ForwardTo != "" {
		return bench.Forward(ctx, b.ForwardTo, os.Stdout)
	}
	if b.Document != "" {
		return writeBenchmarks(b.Document)
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	report, err := bench.Run(ctx, bench.Options{
		Binary: binary, Target: b.Target, Key: b.Key, Scenarios: b.Scenarios, Duration: b.Duration, Clients: b.Clients, Stored: b.Stored,
		Baseline: b.Baseline, Second: b.Second, Watch: b.Watch, Before: b.Before, Log: os.Stdout,
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

// writeBenchmarks makes the document of what scripts/bench.sh left in bench/results.
func writeBenchmarks(file string) error {
	documents := []bench.Document{{Store: "SQLite"}, {Store: "PostgreSQL and Redis", Settings: "DATABASE_URL=postgres://… REDIS_URL=redis://… "}}
	for i, name := range []string{"sqlite", "postgres"} {
		text, err := os.ReadFile(filepath.Join("bench", "results", name+".json"))
		if err != nil {
			return err
		}
		documents[i].Report = &bench.Report{}
		if err := json.Unmarshal(text, documents[i].Report); err != nil {
			return err
		}
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := bench.Write(out, version, os.Getenv("MACHINE"), documents); err != nil {
		return err
	}
	return out.Close()
}
