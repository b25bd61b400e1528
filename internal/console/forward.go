package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/signing"
)

// hand forwards one event and prints what came back. While nothing listens it tries again; an answer, whatever it is, or a
// timeout is not repeated: a developer sees it and triggers again.
func (t *tap) hand(ctx context.Context, e *client.Event) error {
	if t.want.Forward == "" {
		t.report(e, "")
		return nil
	}
	for told := false; ; told = true {
		start := time.Now()
		status, err := t.forward(ctx, e)
		took := float64(time.Since(start).Microseconds()) / 1000
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			t.report(e, fmt.Sprintf("→ %s  %.1f ms", status, took))
			return nil
		case !undialled(err):
			t.report(e, fmt.Sprintf("→ failed: %v", err))
			return nil
		case !told:
			t.report(e, "→ nothing listens there; it is forwarded when something does")
		}
		if err := pause(ctx, patience); err != nil {
			return err
		}
	}
}

// undialled reports that no connection was made, so that nothing can have been received.
func undialled(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// forward makes the request that a subscriber would get, signed with the tap's own secret.
func (t *tap) forward(ctx context.Context, e *client.Event) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.want.Forward, bytes.NewReader(e.Payload))
	if err != nil {
		return "", err
	}
	now := time.Now()
	id := e.ID.String()
	req.Header.Set("Content-Type", e.ContentType)
	req.Header.Set("User-Agent", "Posthorn/listen")
	req.Header.Set("webhook-event-type", e.Type)
	req.Header.Set("webhook-attempt", "1")
	req.Header.Set(signing.HeaderID, id)
	req.Header.Set(signing.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(signing.HeaderSignature, signing.Sign(id, now, e.Payload, t.key))
	resp, err := t.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	// What it says is the program's own business; reading some of it keeps the connection.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	return resp.Status, nil
}

func (t *tap) report(e *client.Event, what string) {
	c := t.console
	if c.json {
		_ = c.asLine(map[string]any{"event": e, "result": what})
		return
	}
	fmt.Fprintf(c.out, "%s  %-20s %s  %s\n", clock(time.Now()), e.Type, e.ID, plain(what))
	if t.want.Payloads {
		fmt.Fprintf(c.out, "%s\n", body(e.Payload))
	}
}
