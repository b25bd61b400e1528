package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/posthorn/posthorn"
)

const (
	// overlap is how far before the last event a stream is resumed: what was written then may have become visible later.
	overlap = 10 * time.Second
	// rereadEvery is the least time between two looks at what changed without updates.
	rereadEvery = 2 * time.Second
	// maxMissed is how many missed updates are sent again; above that the client is told to start afresh.
	maxMissed = 1000
	// checkEvery is how often a stream's key is checked again, heartbeatEvery how many of these make a heartbeat.
	checkEvery     = 5 * time.Second
	heartbeatEvery = 3
	// writeTime bounds one write to a client.
	writeTime = 10 * time.Second
)

func (h *Handler) registerLive() {
	op := operation{
		method: http.MethodGet, path: livePath, id: "watch", tag: "Live", scope: posthorn.ScopeRead,
		summary: "Watch deliveries and attempts",
		description: "Server-sent events: `delivery` when one is created or moved, `attempt` when one was made, `event` when one was accepted that " +
			"no subscription wants; and for the scope admin, on a stream without filters, `workers` with every heartbeat. Each but the last has the id to resume from: " +
			"reconnect with `Last-Event-ID` and everything since is sent again, with some from a little before, so events may repeat. " +
			"What a replay of many events makes, and the deliveries of one event beyond 100, are told when they are attempted. " +
			"After more than 1,000 missed, after news between the nodes was lost, and for a client that reads too slowly, `reset` says to read the lists again. Comments keep the connection alive.",
	}
	handle(h, op, h.watchLive)
	documentLive(h.api.OpenAPI())
}

func documentLive(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	example := `event: attempt
id: 2026-01-31T09:30:00.123456Z
data: {"id":"att_…","delivery_id":"dlv_…","number":1,"outcome":"succeeded","status_code":200}
`
	described := &huma.Schema{Type: huma.TypeString, Description: "A stream of events whose data are LiveDelivery, LiveAttempt, LiveEvent or WorkerList.", Extensions: map[string]any{
		"x-events": map[string]any{
			"delivery": schemas.Schema(reflect.TypeFor[liveDelivery](), true, ""),
			"attempt":  schemas.Schema(reflect.TypeFor[liveAttempt](), true, ""),
			"event":    schemas.Schema(reflect.TypeFor[liveEvent](), true, ""),
			"workers":  schemas.Schema(reflect.TypeFor[list[worker]](), true, ""),
		},
	}}
	doc.Paths["/live"].Get.Responses["200"] = &huma.Response{
		Description: "The stream.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: described, Example: example}},
	}
}

type liveQuery struct {
	SubscriptionID subscriptionRef `query:"subscription_id"`
	EventType      string          `query:"event_type" doc:"Types and patterns, separated by commas."`
	Status         string          `query:"status" doc:"One or more of pending, succeeded, exhausted, cancelled, separated by commas."`
	Since          moment          `query:"since" doc:"Instead of Last-Event-ID."`
	LastEventID    string          `header:"Last-Event-ID" doc:"The id of the last event received."`
}

// liveDelivery is a delivery as it has become.
type liveDelivery struct {
	ID             posthorn.DeliveryID     `json:"id"`
	EventID        posthorn.EventID        `json:"event_id"`
	EventType      string                  `json:"event_type"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	Status         posthorn.State          `json:"status" enum:"pending,succeeded,exhausted,cancelled"`
	Reason         *posthorn.Reason        `json:"reason"`
	Attempts       int                     `json:"attempts"`
	NextAttemptAt  *time.Time              `json:"next_attempt_at"`
	UpdatedAt      time.Time               `json:"updated_at"`
}

// liveAttempt is an attempt that was made.
type liveAttempt struct {
	ID             posthorn.AttemptID      `json:"id"`
	DeliveryID     posthorn.DeliveryID     `json:"delivery_id"`
	EventID        posthorn.EventID        `json:"event_id"`
	EventType      string                  `json:"event_type"`
	SubscriptionID posthorn.SubscriptionID `json:"subscription_id"`
	Number         int                     `json:"number"`
	Outcome        posthorn.Outcome        `json:"outcome" enum:"succeeded,http_error,timeout,dns_error,connect_error,tls_error,blocked,invalid_response,interrupted"`
	StatusCode     *int                    `json:"status_code"`
	Error          *string                 `json:"error"`
	TotalMS        float64                 `json:"total_ms"`
	RecordedAt     time.Time               `json:"recorded_at"`
}

// liveEvent is an event that was accepted and that no subscription wants.
type liveEvent struct {
	ID        posthorn.EventID `json:"id"`
	Type      string           `json:"type"`
	CreatedAt time.Time        `json:"created_at"`
}

// stream is one client's connection.
type stream struct {
	h       *Handler
	call    *call
	watcher *watcher
	control *http.ResponseController
	filter  liveFilter
	last    time.Time
}

type liveFilter struct {
	subscription posthorn.SubscriptionID
	types        []string
	states       []posthorn.State
}

func (f *liveFilter) wants(u *posthorn.Update) bool {
	return (f.subscription.IsZero() || f.subscription == u.SubscriptionID) &&
		(len(f.types) == 0 || posthorn.MatchesType(f.types, u.EventType)) &&
		(len(f.states) == 0 || slices.Contains(f.states, u.State))
}

type liveReply struct {
	Body func(huma.Context)
}

func (h *Handler) watchLive(ctx context.Context, c *call, q *liveQuery) (*liveReply, error) {
	since, err := q.since()
	if err != nil {
		return nil, err
	}
	f := liveFilter{subscription: q.SubscriptionID.SubscriptionID}
	if f.types, err = patterns("query.event_type", q.EventType); err != nil {
		return nil, err
	}
	if f.states, err = choices("query.status", q.Status, states()); err != nil {
		return nil, err
	}
	return &liveReply{func(huma.Context) {
		s := &stream{h: h, call: c, control: http.NewResponseController(c), filter: f, last: since}
		s.run(ctx)
	}}, nil
}

// since is where a client resumes; zero for one that only wants what comes.
func (q *liveQuery) since() (time.Time, error) {
	if q.LastEventID == "" {
		return q.Since.Time, nil
	}
	var m moment
	if err := m.UnmarshalText([]byte(q.LastEventID)); err != nil {
		return time.Time{}, invalid("header.Last-Event-ID", "must be the id of an event received before; leave it out to start afresh")
	}
	return m.Time, nil
}

// run joins the hub first and rereads the store then, so that nothing falls between the two.
func (s *stream) run(ctx context.Context) {
	s.watcher = s.h.hub.join(s.call.tenant())
	wide := s.filter.subscription.IsZero() && len(s.filter.types) == 0 && len(s.filter.states) == 0
	if s.watcher == nil {
		writeProblem(s.call, problemOf(&posthorn.Error{
			Kind: posthorn.Unavailable, RetryAfter: 5 * time.Second, Message: "too many clients are watching; try again later",
		}))
		return
	}
	defer s.h.hub.leave(s.watcher)
	if wide && s.call.identity.Key.Allows(posthorn.ScopeAdmin) {
		s.h.hub.showNodes(s.watcher)
	}
	missed, more, err := s.missed(ctx)
	if err != nil {
		writeProblem(s.call, problemOf(err))
		return
	}
	s.begin()
	if s.resume(missed, more) == nil {
		s.follow(ctx)
	}
}

func (s *stream) begin() {
	header := s.call.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	s.call.WriteHeader(http.StatusOK)
}

// missed reads what happened since a little before the last event.
func (s *stream) missed(ctx context.Context) ([]posthorn.Update, bool, error) {
	if s.last.IsZero() {
		s.last = s.h.store.Now().UTC()
		return nil, false, nil
	}
	return s.h.store.Updates(ctx, s.call.tenant(), s.last.Add(-overlap), maxMissed)
}

func (s *stream) resume(missed []posthorn.Update, more bool) error {
	if more {
		s.last = s.h.store.Now().UTC()
		return s.reset()
	}
	// An id without data tells a client where to resume from even when nothing happens.
	if err := s.write("retry: 2000\nid: %s\n\n", s.last.UTC().Format(time.RFC3339Nano)); err != nil {
		return err
	}
	sortUpdates(missed)
	return s.send(missed)
}

func (s *stream) follow(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	// Large changes may follow one another.
	reread := time.NewTimer(0)
	reread.Stop()
	defer reread.Stop()
	var rereadAt time.Time
	gap := false
	for tick := 1; ; {
		select {
		case u := <-s.watcher.updates:
			if s.send(s.gather(u)) != nil {
				return
			}
		case nodes := <-s.watcher.nodes:
			if s.showNodes(nodes) != nil {
				return
			}
		case <-s.watcher.reread:
			reread.Reset(max(0, rereadEvery-time.Since(rereadAt)))
		case <-s.watcher.gap:
			gap = true
			reread.Reset(max(0, rereadEvery-time.Since(rereadAt)))
		case rereadAt = <-reread.C:
			if s.catchUp(ctx, gap) != nil {
				return
			}
			gap = false
		case <-ticker.C:
			if s.h.opts.Auth.Check(ctx, s.call.identity, s.call.from) != nil {
				return
			}
			if tick++; tick%heartbeatEvery == 0 && s.write(": alive\n\n") != nil {
				return
			}
		case <-s.watcher.lost:
			_ = s.reset()
			return
		case <-s.h.hub.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// catchUp tells what changed without updates. Over a gap nobody knows how long news was lost, and what came meanwhile from this
// node has moved the last event on: the client reads the lists.
func (s *stream) catchUp(ctx context.Context, gap bool) error {
	if gap {
		return s.resume(nil, true)
	}
	missed, more, err := s.missed(ctx)
	if err != nil {
		return err
	}
	return s.resume(missed, more)
}

// gather takes what else waits already, for one write.
func (s *stream) gather(first posthorn.Update) []posthorn.Update {
	list := []posthorn.Update{first}
	for len(list) < maxMissed {
		select {
		case u := <-s.watcher.updates:
			list = append(list, u)
		default:
			return list
		}
	}
	return list
}

// showNodes has no id: the next heartbeat tells all of it again.
func (s *stream) showNodes(nodes []posthorn.Node) error {
	now := s.h.store.Now()
	shown := list[worker]{Data: make([]worker, len(nodes))}
	for i := range nodes {
		shown.Data[i] = showWorker(&nodes[i], now)
	}
	body, err := json.Marshal(shown, jsonOptions)
	if err != nil {
		return err
	}
	return s.write("event: workers\ndata: %s\n\n", body)
}

func (s *stream) reset() error {
	return s.write("event: reset\nid: %s\ndata: {}\n\n", s.last.UTC().Format(time.RFC3339Nano))
}

// send writes the updates that the client wants.
func (s *stream) send(updates []posthorn.Update) error {
	var text []byte
	for i := range updates {
		u := &updates[i]
		if !s.filter.wants(u) {
			continue
		}
		if u.At.After(s.last) {
			s.last = u.At
		}
		text = appendUpdate(text, u)
	}
	if len(text) == 0 {
		return nil
	}
	return s.write("%s", text)
}

func (s *stream) write(format string, args ...any) error {
	// A connection without deadlines (a test's) is written to all the same.
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := fmt.Fprintf(s.call, format, args...); err != nil {
		return err
	}
	return s.control.Flush()
}

func appendUpdate(text []byte, u *posthorn.Update) []byte {
	if u.DeliveryID.IsZero() {
		return appendEvent(text, "event", u.At, liveEvent{ID: u.EventID, Type: u.EventType, CreatedAt: u.At.UTC()})
	}
	if !u.Attempt.IsZero() {
		text = appendEvent(text, "attempt", u.At, liveAttempt{
			ID: u.Attempt, DeliveryID: u.DeliveryID, EventID: u.EventID, EventType: u.EventType, SubscriptionID: u.SubscriptionID,
			Number: u.Number, Outcome: u.Outcome, StatusCode: nonZero(u.StatusCode), Error: nonEmpty(u.Error),
			TotalMS: milliseconds(u.Duration), RecordedAt: u.At.UTC(),
		})
	}
	due := u.DueAt
	if u.State != posthorn.Pending {
		due = time.Time{}
	}
	return appendEvent(text, "delivery", u.At, liveDelivery{
		ID: u.DeliveryID, EventID: u.EventID, EventType: u.EventType, SubscriptionID: u.SubscriptionID, Status: u.State,
		Reason: nonEmpty(u.Reason), Attempts: u.Attempts, NextAttemptAt: optional(due), UpdatedAt: u.At.UTC(),
	})
}

func appendEvent(text []byte, name string, at time.Time, data any) []byte {
	body, err := json.Marshal(data, jsonOptions)
	if err != nil {
		return text
	}
	text = fmt.Appendf(text, "event: %s\nid: %s\ndata: ", name, at.UTC().Format(time.RFC3339Nano))
	return append(append(text, body...), "\n\n"...)
}

func nonZero(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
