package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

const (
	// silence is how long the stream may say nothing before it counts as dead: three of the server's heartbeats.
	silence = 45 * time.Second
	// firstPause and longestPause are the waits between two tries to connect.
	firstPause   = 250 * time.Millisecond
	longestPause = 5 * time.Second
	// maxEvent bounds one event of the stream.
	maxEvent = 1 << 20
)

// Live is one event of GET /live: exactly one of Delivery and Attempt is set, or none when Reset says that too much was
// missed to be sent again.
type Live struct {
	Delivery *LiveDelivery
	Attempt  *LiveAttempt
	Reset    bool
	// Data is the event as it came.
	Data json.RawMessage
}

// LiveDelivery is a delivery as it has become.
type LiveDelivery struct {
	ID             posthorn.DeliveryID     `json:"id"`
	EventID        posthorn.EventID        `json:"event_id"`
	EventType      string                  `json:"event_type"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	Status         posthorn.State          `json:"status"`
	Reason         *posthorn.Reason        `json:"reason"`
	Attempts       int                     `json:"attempts"`
	NextAttemptAt  *time.Time              `json:"next_attempt_at"`
	UpdatedAt      time.Time               `json:"updated_at"`
}

// LiveAttempt is an attempt that was made.
type LiveAttempt struct {
	ID             posthorn.AttemptID      `json:"id"`
	DeliveryID     posthorn.DeliveryID     `json:"delivery_id"`
	EventID        posthorn.EventID        `json:"event_id"`
	EventType      string                  `json:"event_type"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	Number         int                     `json:"number"`
	Outcome        posthorn.Outcome        `json:"outcome"`
	StatusCode     *int                    `json:"status_code"`
	Error          *string                 `json:"error"`
	TotalMS        float64                 `json:"total_ms"`
	RecordedAt     time.Time               `json:"recorded_at"`
}

// Watch says what to follow; the zero value follows everything from now on.
type Watch struct {
	// Filter holds the parameters of GET /live: subscription_id, event_type, status, since.
	Filter url.Values
	// Changed, when set, hears that the stream was lost (with the reason) and that it is back (nil).
	Changed func(error)
}

// Watch calls hear for every event until ctx ends, hear fails, or the server refuses for good. When the connection is
// lost it resumes from the last event, as long as it takes; what the server repeats then is dropped.
func (c *Client) Watch(ctx context.Context, w Watch, hear func(Live) error) error {
	s := &stream{client: c, watch: w, hear: hear, seen: NewSeen(2 * maxRepeated)}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		s.heard = false
		err := s.connect(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p, ok := errors.AsType[*Problem](err); ok {
			if p.Final() {
				return err
			}
			pause = max(pause, min(p.RetryAfter, longestPause))
		}
		if h, ok := errors.AsType[hearError](err); ok {
			return h.error
		}
		s.change(err)
		if s.heard {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hearError is what the listener answered, as opposed to what became of the connection.
type hearError struct{ error }

// maxRepeated is how many events the server sends again at most when a stream is resumed.
const maxRepeated = 1000

// stream is one Watch across its connections.
type stream struct {
	client *Client
	watch  Watch
	hear   func(Live) error
	seen   *Seen
	last   string // id to resume from
	heard  bool   // something came on this connection
	lost   bool
}

// change tells of a loss once, and of the return.
func (s *stream) change(err error) {
	if lost := err != nil; lost != s.lost {
		s.lost = lost
		if s.watch.Changed != nil {
			s.watch.Changed(err)
		}
	}
}

// connect follows one connection to its end, which is always an error.
func (s *stream) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("the live stream fell silent")) })
	defer quiet.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if s.last != "" {
		header.Set("Last-Event-ID", s.last)
	}
	resp, err := s.client.send(ctx, http.MethodGet, "/live", s.watch.Filter, nil, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.change(nil)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var e message
	for lines.Scan() {
		quiet.Reset(silence)
		s.heard = true
		if !e.take(lines.Text()) {
			continue
		}
		if err := s.dispatch(e); err != nil {
			return err
		}
		e = message{}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("live stream: %w", errors.Join(err, context.Cause(ctx)))
	}
	return fmt.Errorf("live stream: %w", io.ErrUnexpectedEOF)
}

// dispatch hands an event to the listener, unless it was handed over before.
func (s *stream) dispatch(e message) error {
	if e.id != "" {
		s.last = e.id
	}
	live := Live{Data: json.RawMessage(e.data)}
	isNew := true
	var err error
	switch e.name {
	case "delivery":
		live.Delivery = new(LiveDelivery)
		err = json.Unmarshal(live.Data, live.Delivery)
		// What is sent again shows the delivery as it is now, under the times of what was missed.
		isNew = s.seen.Later(live.Delivery.ID.String(), live.Delivery.UpdatedAt)
	case "attempt":
		live.Attempt = new(LiveAttempt)
		err = json.Unmarshal(live.Data, live.Attempt)
		isNew = s.seen.Add(live.Attempt.ID.String())
	case "reset":
		live.Reset = true
	default:
		return nil
	}
	if err != nil {
		return hearError{fmt.Errorf("live event: %w", err)}
	}
	if !isNew {
		return nil
	}
	if err := s.hear(live); err != nil {
		return hearError{err}
	}
	return nil
}

// message is one event of a stream (WHATWG HTML, section 9.2).
type message struct{ name, id, data string }

// take reads a line; true means that the event is complete.
func (m *message) take(line string) bool {
	if line == "" {
		return true
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "event":
		m.name = value
	case "id":
		m.id = value
	case "data":
		if m.data != "" {
			m.data += "\n"
		}
		m.data += value
	}
	return false
}
