package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// viewer is a client of the live stream.
type viewer struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
	resp   *http.Response
}

// sent is one event of the stream.
type sent struct {
	name, id string
	data     map[string]any
}

func (s *site) watch(query, lastID string) *viewer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/live"+query, nil)
	must(s.t, err)
	r.Header.Set("Authorization", "Bearer "+s.admin)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := s.server.Client().Do(r)
	must(s.t, err)
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("watching is answered %d, %s", resp.StatusCode, resp.Header)
	}
	return &viewer{s.t, bufio.NewScanner(resp.Body), cancel, resp}
}

// next is the next event; ok is false at the end of the stream. An event without data only has an id.
func (v *viewer) next() (e sent, ok bool) {
	v.t.Helper()
	some := false
	for v.lines.Scan() {
		line := v.lines.Text()
		if line == "" && some {
			return e, true
		}
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "event":
			e.name, some = value, true
		case "id":
			e.id, some = value, true
		case "data":
			must(v.t, json.Unmarshal([]byte(value), &e.data))
		}
	}
	return e, false
}

// want reads events until one of a name comes.
func (v *viewer) want(name string) sent {
	v.t.Helper()
	for {
		e, ok := v.next()
		if !ok {
			v.t.Fatalf("the stream ended before %s: %v", name, v.lines.Err())
		}
		if e.name == name {
			return e
		}
	}
}

func TestLiveShowsWhatHappens(t *testing.T) {
	s := open(t, nil)
	id := s.subscribe(s.admin, nil)
	v := s.watch("", "")
	if e, _ := v.next(); e.name != "" || e.id == "" {
		t.Errorf("the stream begins with %+v", e)
	}
	s.publish(s.foreign, "not.ours")
	event := s.publish(s.admin, "a.b")
	if e := v.want("delivery"); e.data["event_id"] != event || e.data["status"] != "pending" || e.data["subscription_id"] != id || e.data["attempts"] != 0.0 {
		t.Errorf("created: %v", e)
	}
	s.work(nil)
	if e := v.want("attempt"); e.data["event_id"] != event || e.data["outcome"] != "succeeded" || e.data["number"] != 1.0 || e.data["total_ms"] != 12.0 {
		t.Errorf("attempted: %v", e)
	}
	if e := v.want("delivery"); e.data["status"] != "succeeded" || e.data["next_attempt_at"] != nil {
		t.Errorf("moved: %v", e)
	}
}

func TestLiveTellsOfUnwantedEvents(t *testing.T) {
	s := open(t, nil)
	v := s.watch("", "")
	first, _ := v.next()
	event := s.publish(s.admin, "a.b")
	s.publish(s.foreign, "a.b")
	if e := v.want("event"); e.data["id"] != event || e.data["type"] != "a.b" || e.data["created_at"] != e.id {
		t.Errorf("told of %v", e)
	}
	v.cancel()
	again := s.watch("", first.id)
	again.next()
	if e := again.want("event"); e.data["id"] != event {
		t.Errorf("told again of %v", e)
	}
}

func TestLiveShowsNodesToAdministrators(t *testing.T) {
	s := open(t, nil)
	wide, narrow := s.watch("", ""), s.watch("?event_type=a.b", "")
	wide.next()
	narrow.next()
	s.handler.ShowNodes([]posthorn.Node{{ID: s.node, Hostname: "one", SeenAt: time.Now()}})
	nodes, _ := wide.want("workers").data["data"].([]any)
	if len(nodes) != 1 || nodes[0].(map[string]any)["hostname"] != "one" {
		t.Errorf("nodes %v", nodes)
	}
	s.subscribe(s.admin, nil)
	s.publish(s.admin, "a.b")
	if e, _ := narrow.next(); e.name != "delivery" {
		t.Errorf("a stream with a filter got %v", e)
	}
}

func TestLiveFilters(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	v := s.watch("?event_type=b.*&status=succeeded", "")
	v.next()
	s.publish(s.admin, "a.x")
	wanted := s.publish(s.admin, "b.x")
	s.work(nil)
	if e := v.want("delivery"); e.data["event_id"] != wanted || e.data["status"] != "succeeded" {
		t.Errorf("got %v", e)
	}
	for query, place := range map[string]string{"status=x": "query.status", "event_type=*x": "query.event_type", "since=x": "query.since", "subscription_id=x": "query.subscription_id", "x=1": "query.x"} {
		s.call(http.MethodGet, "/live?"+query, s.admin, nil).wantFaults(place)
	}
	s.callWith(http.MethodGet, "/live", s.admin, nil, http.Header{"Last-Event-Id": {"7"}}).wantFaults("header.Last-Event-ID")
}

func TestLiveResumes(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	v := s.watch("", "")
	first, _ := v.next()
	v.cancel()
	event := s.publish(s.admin, "a.b")
	s.work(nil)
	again := s.watch("", first.id)
	if e := again.want("attempt"); e.data["event_id"] != event {
		t.Errorf("resumed with %v", e)
	}
	since := s.watch("?since="+first.id, "")
	if e := since.want("attempt"); e.data["event_id"] != event {
		t.Errorf("resumed with %v", e)
	}
}

func TestLiveResetsAfterTooMuch(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	var events []any
	for range 600 {
		events = append(events, map[string]any{"type": "a", "payload": 1})
	}
	since := s.store.Now().UTC().Format(time.RFC3339Nano)
	for range 2 {
		s.call(http.MethodPost, "/events/batch", s.admin, map[string]any{"events": events}).want(http.StatusOK)
	}
	v := s.watch("", since)
	if e, ok := v.next(); !ok || e.name != "reset" {
		t.Errorf("resumed with %v", e)
	}
	// The bus may still be telling of the last ones.
	event := s.publish(s.admin, "after")
	for v.want("delivery").data["event_id"] != event {
	}
}

func TestLiveEnds(t *testing.T) {
	s := open(t, func(o *Options) { o.MaxWatchers = 1 })
	v := s.watch("", "")
	v.next()
	s.call(http.MethodGet, "/live", s.admin, nil).want(http.StatusServiceUnavailable)
	s.handler.Close()
	if e, ok := v.next(); ok {
		t.Errorf("after the end %v", e)
	}
	s.call(http.MethodGet, "/live", s.admin, nil).want(http.StatusServiceUnavailable)
}

func TestHubDropsTheSlow(t *testing.T) {
	s := open(t, nil)
	tenant := s.home.ID
	slow, quick := s.handler.hub.join(tenant), s.handler.hub.join(tenant)
	defer s.handler.hub.leave(slow)
	defer s.handler.hub.leave(quick)
	u := posthorn.Update{TenantID: tenant}
	for range watcherRoom {
		s.handler.hub.hear(posthorn.Signal{Updates: []posthorn.Update{u}})
		<-quick.updates
	}
	s.handler.hub.hear(posthorn.Signal{Updates: []posthorn.Update{u}})
	select {
	case <-slow.lost:
	default:
		t.Error("the slow one is waited for")
	}
	select {
	case <-quick.lost:
		t.Error("the quick one is dropped")
	default:
	}
}

// TestLiveRereads says that much changed: the stream finds out from the store.
func TestLiveRereads(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	v := s.watch("", "")
	v.next()
	s.handler.hub.reread(s.home.ID)
	if e := v.want("delivery"); e.data["event_id"] != event {
		t.Errorf("reread %v", e)
	}
}

// TestLiveResetsAfterAGap: the bus lost news for nobody knows how long, so the client is told to read the lists, and hears what follows.
func TestLiveResetsAfterAGap(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	v := s.watch("", "")
	v.next()
	s.handler.hub.miss()
	if e, ok := v.next(); !ok || e.name != "reset" {
		t.Errorf("after lost news %v", e)
	}
	event := s.publish(s.admin, "after")
	if e := v.want("delivery"); e.data["event_id"] != event {
		t.Errorf("after the reset %v", e)
	}
}

// TestLiveShowsWhatIsChangedTogether: a change of many deliveries at once, which has no update for each, and a replay of one event.
func TestLiveShowsWhatIsChangedTogether(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	v := s.watch("", "")
	v.next()
	s.call(http.MethodPost, "/deliveries/bulk", s.admin, `{"action":"cancel","filter":{"status":["pending"]}}`).want(http.StatusOK)
	for v.want("delivery").data["status"] != string(posthorn.Cancelled) {
	}
	s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, `{}`).want(http.StatusAccepted)
	for v.want("delivery").data["status"] != string(posthorn.Pending) {
	}
}

// TestLiveOutlivesTheReadTimeout is served as the service is: with a time to read the request in.
func TestLiveOutlivesTheReadTimeout(t *testing.T) {
	s := open(t, nil)
	s.server.Close()
	s.server = httptest.NewUnstartedServer(s.handler)
	s.server.Config.ReadTimeout = 100 * time.Millisecond
	s.server.Start()
	t.Cleanup(s.server.Close)
	s.subscribe(s.admin, nil)
	v := s.watch("", "")
	v.next()
	deadline := time.After(300 * time.Millisecond)
	<-deadline
	event := s.publish(s.admin, "a.b")
	if e := v.want("delivery"); e.data["event_id"] != event {
		t.Errorf("got %v", e)
	}
}
