package clustertest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/clustertest"
	"github.com/posthorn/posthorn/internal/hooktest"
	"github.com/posthorn/posthorn/internal/redis/redistest"
)

// TestOneTraceFromPublishToEveryAttempt publishes at one node and delivers from another, the first attempt failing, and
// reads at a collector process what both sent: one trace, which began at the producer.
func TestOneTraceFromPublishToEveryAttempt(t *testing.T) {
	t.Parallel()
	spans := startCollector(t)
	c := newCluster(t, clustertest.NewDatabase(t), redistest.Start(t).URL())
	c.env = []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + spans.url, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test",
		"POSTHORN_SEND_TRACEPARENT=true",
	}
	api, worker := c.start("api"), c.start("worker")
	receiver, url := hooktest.Listen(t, "receiver")
	receiver.Reply(hooktest.Status(http.StatusServiceUnavailable), hooktest.Status(http.StatusOK))
	subscription := api.subscribe(url, "order.created", object{"retry": object{"schedule": []float64{0.2}}})

	const trace, producer = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	event := publishTraced(t, api, "00-"+trace+"-"+producer+"-01")
	if !receiver.Await(2, 20*time.Second) {
		t.Fatalf("%d requests of 2 arrived", receiver.Count())
	}
	clustertest.Eventually(t, 20*time.Second, "the spans arrive", func() bool {
		return len(spans.of(trace, "POST /events")) == 1 && len(spans.of(trace, "attempt")) == 2
	})

	request := spans.of(trace, "POST /events")[0]
	if request.Parent != producer || request.Attributes["http.response.status_code"] != "202" {
		t.Errorf("the request's span: %+v", request)
	}
	published := spans.of(trace, "publish order.created")
	if len(published) != 1 || published[0].Parent != request.ID || published[0].Attributes["posthorn.event.id"] != event {
		t.Fatalf("the publish's spans: %+v", published)
	}
	for i, a := range spans.of(trace, "attempt order.created") {
		wantFailed := i == 0
		if a.Parent != published[0].ID || a.Failed != wantFailed || a.Attributes["posthorn.event.id"] != event ||
			a.Attributes["posthorn.subscription.id"] != subscription.ID.String() {
			t.Errorf("attempt %d: %+v", i+1, a)
		}
		if a.Resource["service.instance.id"] != worker.id.String() || a.Resource["deployment.environment.name"] != "test" {
			t.Errorf("attempt %d was sent by %v, want the worker %s", i+1, a.Resource, worker.id)
		}
		sent := receiver.Requests()[i].Header.Get("traceparent")
		if sent != "00-"+trace+"-"+a.ID+"-01" {
			t.Errorf("attempt %d told the subscriber %q, want its own span %s", i+1, sent, a.ID)
		}
	}
	if by := request.Resource["service.instance.id"]; by != api.id.String() {
		t.Errorf("the request's span was sent by %s, want the API node %s", by, api.id)
	}
}

// TestTracesOffSendNothing keeps a producer's trace to itself where none is asked for.
func TestTracesOffSendNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, clustertest.NewDatabase(t), "")
	n := c.start("api,worker")
	receiver, url := hooktest.Listen(t, "receiver")
	n.subscribe(url, "order.created", nil)
	publishTraced(t, n, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if !receiver.Await(1, 20*time.Second) {
		t.Fatal("nothing arrived")
	}
	if sent := receiver.Requests()[0].Header.Get("traceparent"); sent != "" {
		t.Errorf("the subscriber was told %q", sent)
	}
	if stored := value[string](t, connect(t, c.database), `SELECT trace_parent FROM events`); stored != "" {
		t.Errorf("%q was stored with the event", stored)
	}
}

// publishTraced publishes within a producer's trace.
func publishTraced(t *testing.T, n *node, parent string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/events",
		strings.NewReader(`{"type": "order.created", "payload": {"n": 1}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("traceparent", parent)
	resp, err := n.cluster.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	var made published
	if _, err := body.ReadFrom(resp.Body); err != nil || json.Unmarshal(body.Bytes(), &made) != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("publish: %d %s %v", resp.StatusCode, body.Bytes(), err)
	}
	return made.ID
}
