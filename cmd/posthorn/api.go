package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/console"
)

// server are the flags of the commands that talk to a running server.
type server struct {
	Server client.Settings `embed:""`
	JSON   bool            `name:"json" help:"Print JSON instead of text."`
}

func (s server) console() (*console.Console, error) {
	c, err := client.New(s.Server)
	if err != nil {
		return nil, err
	}
	return console.New(console.Options{Client: c, Out: os.Stdout, Notes: os.Stderr, JSON: s.JSON}), nil
}

// page are the flags of every list.
type page struct {
	Limit int `default:"50" help:"How many at most; 0 is all."`
}

// span are the flags of lists within a time.
type span struct {
	Since string `placeholder:"TIME" help:"Created at or after: RFC 3339, or how long ago, such as 2h."`
	Until string `placeholder:"TIME" help:"Created before."`
}

func (s span) into(q url.Values) error {
	for name, text := range map[string]string{"since": s.Since, "until": s.Until} {
		at, err := moment(text)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		set(q, name, at)
	}
	return nil
}

// moment reads a time, or how long ago one was, and writes it as the API reads it.
func moment(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago).UTC().Format(time.RFC3339Nano), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return "", errors.New("must be a time like 2026-01-31T09:30:00Z, or how long ago, such as 2h")
	}
	return at.UTC().Format(time.RFC3339Nano), nil
}

// set sets a parameter unless it is empty.
func set(q url.Values, name string, values ...string) {
	if text := strings.Join(values, ","); text != "" {
		q.Set(name, text)
	}
}

// content is a flag's text, or that of the file named after @; @- is the standard input.
func content(text string) ([]byte, error) {
	path, ok := strings.CutPrefix(text, "@")
	if !ok {
		return []byte(text), nil
	}
	return fileOrInput(path)
}

func fileOrInput(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(path)
}

// identified are the arguments of commands on one thing.
type identified[T any] struct {
	ID T `arg:"" help:"Its id."`
}

type (
	eventID        = identified[posthorn.EventID]
	deliveryID     = identified[posthorn.DeliveryID]
	subscriptionID = identified[posthorn.SubscriptionID]
)
