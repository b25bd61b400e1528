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
	Target    string         `help:"URL of a running server (default: one is started for each scenario)."`
	Key       string         `help:"API key for the target."`
	Duration  time.Duration  `default:"10s" help:"Length of each timed scenario."`
	Clients   int            `default:"64" help:"Connections of a closed loop."`
	Stored    int            `help:"Deliveries that the scenario lists stores first (default: a million)."`
	Baseline  bool           `help:"Take turns with the same loop without storage and print the ratios."`
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
		Baseline: b.Baseline, Watch: b.Watch, Before: b.Before, Log: os.Stdout,
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
	documents := []bench.Document{{Store: "SQLite", Command: "posthorn bench --baseline"}, {
		Store: "PostgreSQL and Redis", Command: "DATABASE_URL=postgres://… REDIS_URL=redis://… posthorn bench --baseline --watch postgres=4321",
	}}
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
