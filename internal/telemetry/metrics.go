package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthorn/posthorn"
)

// latencyBuckets suit webhook times: from a local receiver's millisecond to a day's retry, in seconds.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 86400}

// sizeBuckets suit batches.
var sizeBuckets = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// Metrics counts what a node does, for Prometheus. Labels come from small fixed sets: never an id, a URL or a tenant, which
// strangers could make without bound. It is an Observer of the engine.
type Metrics struct {
	registry *prometheus.Registry
	parts

	accepted       prometheus.Counter
	matched        prometheus.Counter
	retries        prometheus.Counter
	commitSeconds  prometheus.Histogram
	commitEvents   prometheus.Histogram
	attempts       map[posthorn.Outcome]attempts
	firstSeconds   prometheus.Histogram
	successSeconds prometheus.Histogram
	claimSize      prometheus.Histogram
	claimSeconds   prometheus.Histogram
	recordSize     prometheus.Histogram
	recordSeconds  prometheus.Histogram
	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	refused        *prometheus.CounterVec
	removed        *prometheus.CounterVec
	cleanupSeconds prometheus.Histogram
	cleaned        prometheus.Gauge
	ingested       *prometheus.CounterVec
}

// NewMetrics makes the counters of one node.
func NewMetrics(version string) *Metrics {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := &Metrics{registry: r, parts: newParts(r)}
	m.accepted = counter(r, "posthorn_events_accepted_total", "Events stored, duplicates included.")
	m.matched = counter(r, "posthorn_deliveries_matched_total", "Deliveries made for accepted events.")
	m.retries = counter(r, "posthorn_retries_scheduled_total", "Attempts that failed and will be made again.")
	m.commitSeconds = histogram(r, "posthorn_accept_commit_seconds", "Time of one transaction that accepts events.", latencyBuckets)
	m.commitEvents = histogram(r, "posthorn_accept_commit_events", "Events in one such transaction.", sizeBuckets)
	m.attempts = newAttempts(r)
	m.firstSeconds = histogram(r, "posthorn_first_attempt_latency_seconds", "From acceptance to the start of the first attempt.", latencyBuckets)
	m.successSeconds = histogram(r, "posthorn_delivery_latency_seconds", "From acceptance to success.", latencyBuckets)
	m.claimSize = histogram(r, "posthorn_claim_deliveries", "Deliveries got by one claim.", append([]float64{0}, sizeBuckets...))
	m.claimSeconds = histogram(r, "posthorn_claim_seconds", "Time of one claim.", latencyBuckets)
	m.recordSize = histogram(r, "posthorn_record_results", "Results in one transaction.", sizeBuckets)
	m.recordSeconds = histogram(r, "posthorn_record_seconds", "Time of one transaction that records results.", latencyBuckets)
	m.requests = counters(r, "posthorn_http_requests_total", "Requests to the API by operation and status class.", "method", "path", "status")
	m.requestSeconds = histograms(r, "posthorn_http_request_seconds", "Time of requests to the API by operation.", latencyBuckets, "method", "path")
	m.refused = counters(r, "posthorn_sign_ins_refused_total", "Requests to the API that were not recognised, by what was wrong: nothing, key, session, origin or rate.", "why")
	m.removed = counters(r, "posthorn_cleanup_removed_total", "Rows and partitions removed by cleanup.", "what")
	m.cleanupSeconds = histogram(r, "posthorn_cleanup_seconds", "Time of one cleanup.", latencyBuckets)
	m.cleaned = gauge(r, "posthorn_cleanup_last_success_timestamp_seconds", "When this node last removed all that is past the retention, in Unix time; 0 if it never did.")
	m.ingested = counters(r, "posthorn_ingest_requests_total", "Requests to sources by provider and outcome: accepted, duplicate, challenge, refused (by its signature), rejected (for another reason), unknown.", "provider", "outcome")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "posthorn_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r.MustRegister(build)
	return m
}

// Handler serves the metrics in Prometheus' format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}

// Committed counts one transaction that accepted events and made deliveries for them.
func (m *Metrics) Committed(events, deliveries int, took time.Duration) {
	m.accepted.Add(float64(events))
	m.matched.Add(float64(deliveries))
	m.commitEvents.Observe(float64(events))
	m.commitSeconds.Observe(took.Seconds())
}

// attempts are those of one outcome.
type attempts struct {
	total   prometheus.Counter
	seconds prometheus.Observer
}

// newAttempts looks every outcome up once, instead of once in each attempt.
func newAttempts(r *prometheus.Registry) map[posthorn.Outcome]attempts {
	total := counters(r, "posthorn_attempts_total", "Attempts by outcome.", "outcome")
	seconds := histograms(r, "posthorn_attempt_seconds", "Time of one attempt by outcome.", latencyBuckets, "outcome")
	all := map[posthorn.Outcome]attempts{}
	for _, o := range posthorn.Outcomes {
		all[o] = attempts{total.WithLabelValues(string(o)), seconds.WithLabelValues(string(o))}
	}
	return all
}

// Attempted counts one attempt.
func (m *Metrics) Attempted(a *posthorn.Attempt, event *posthorn.Event) {
	of := m.attempts[a.Outcome]
	of.total.Inc()
	of.seconds.Observe(a.Timing.Total.Seconds())
	if a.Number == 1 {
		m.firstSeconds.Observe(a.StartedAt.Sub(event.CreatedAt).Seconds())
	}
	if a.Outcome == posthorn.Succeeded {
		m.successSeconds.Observe(a.StartedAt.Add(a.Timing.Total).Sub(event.CreatedAt).Seconds())
	}
}

// Claimed counts one claim.
func (m *Metrics) Claimed(deliveries int, took time.Duration) {
	m.claimSize.Observe(float64(deliveries))
	m.claimSeconds.Observe(took.Seconds())
}

// Recorded counts one transaction that recorded results, of which some are retries to come.
func (m *Metrics) Recorded(results, retries int, took time.Duration) {
	m.retries.Add(float64(retries))
	m.recordSize.Observe(float64(results))
	m.recordSeconds.Observe(took.Seconds())
}

// Requested counts one answered request; path is the operation's, as documented.
func (m *Metrics) Requested(method, path string, status int, took time.Duration) {
	if path == "" {
		method, path = "", "unmatched"
	}
	m.requests.WithLabelValues(method, path, strconv.Itoa(status/100)+"xx").Inc()
	m.requestSeconds.WithLabelValues(method, path).Observe(took.Seconds())
}

// Refused counts one request that was not recognised.
func (m *Metrics) Refused(why string) { m.refused.WithLabelValues(why).Inc() }

// Cleaned counts one cleanup.
func (m *Metrics) Cleaned(r posthorn.CleanupReport, took time.Duration) {
	m.removed.WithLabelValues("events").Add(float64(r.Events))
	m.removed.WithLabelValues("deliveries").Add(float64(r.Deliveries))
	m.removed.WithLabelValues("attempts").Add(float64(r.Attempts))
	m.removed.WithLabelValues("keys").Add(float64(r.Keys))
	m.removed.WithLabelValues("partitions").Add(float64(r.Partitions))
	m.cleanupSeconds.Observe(took.Seconds())
	if !r.Behind {
		m.cleaned.SetToCurrentTime()
	}
}

// Ingested counts one request to a source.
func (m *Metrics) Ingested(provider, outcome string) {
	m.ingested.WithLabelValues(provider, outcome).Inc()
}

// Gauge shows a value that is read at each scrape.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// queueAge bounds how often scrapes ask the store for the backlog.
const queueAge = 5 * time.Second

// Queue shows the backlog as the store sums it.
func (m *Metrics) Queue(read func(ctx context.Context) (posthorn.Queue, error)) {
	m.registry.MustRegister(&queueCollector{read: read})
}

func counter(r *prometheus.Registry, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	r.MustRegister(c)
	return c
}

func counters(r *prometheus.Registry, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.MustRegister(c)
	return c
}

func gauge(r *prometheus.Registry, name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	r.MustRegister(g)
	return g
}

func histogram(r *prometheus.Registry, name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	r.MustRegister(h)
	return h
}

func histograms(r *prometheus.Registry, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.MustRegister(h)
	return h
}
