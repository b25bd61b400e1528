package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn"
)

// parts are the series of what stands beside accepting and delivering.
type parts struct {
	storeSeconds *prometheus.HistogramVec
	storeErrors  *prometheus.CounterVec
	redisSeconds prometheus.Histogram
	redisErrors  prometheus.Counter
	cacheReads   *prometheus.CounterVec
	cacheHits    prometheus.Counter // of cacheReads: each event is one
	limited      *prometheus.CounterVec
	withdrawn    *prometheus.CounterVec
}

func newParts(r *prometheus.Registry) parts {
	p := parts{
		storeSeconds: histograms(r, "posthorn_store_seconds", "Time of one call of the store by operation.", latencyBuckets, "operation"),
		storeErrors:  counters(r, "posthorn_store_errors_total", "Calls of the store that failed by operation and kind: unavailable, internal.", "operation", "kind"),
		redisSeconds: histogram(r, "posthorn_redis_seconds", "Time of one use of Redis.", latencyBuckets),
		redisErrors:  counter(r, "posthorn_redis_errors_total", "Uses of Redis that failed for want of a connection or of time."),
		cacheReads:   counters(r, "posthorn_cache_reads_total", "Readings of a tenant's subscriptions by where they were: process, redis, store.", "from"),
		limited:      counters(r, "posthorn_rate_limited_total", "Refusals by a rate limit: requests to the API, or deliveries made to wait.", "what"),
		withdrawn:    counters(r, "posthorn_withdrawn_total", "Pending deliveries ended by the janitor, by reason.", "reason"),
	}
	p.cacheHits = p.cacheReads.WithLabelValues("process")
	return p
}

// RedisUsed counts one use of Redis.
func (m *Metrics) RedisUsed(took time.Duration, failed bool) {
	m.redisSeconds.Observe(took.Seconds())
	if failed {
		m.redisErrors.Inc()
	}
}

// RedisUp shows whether Redis answers.
func (m *Metrics) RedisUp(up func() bool) {
	m.Gauge("posthorn_redis_up", "1 while Redis answers.", func() float64 {
		if up() {
			return 1
		}
		return 0
	})
}

// CacheRead counts one reading of a tenant's subscriptions.
func (m *Metrics) CacheRead(from string) {
	if from == "process" {
		m.cacheHits.Inc()
		return
	}
	m.cacheReads.WithLabelValues(from).Inc()
}

// What a rate limit holds back, for RateLimited.
const (
	LimitedRequests   = "requests"
	LimitedDeliveries = "deliveries"
)

// RateLimited counts one refusal.
func (m *Metrics) RateLimited(what string) { m.limited.WithLabelValues(what).Inc() }

// Withdrawn counts pending deliveries that the janitor has ended.
func (m *Metrics) Withdrawn(ended map[posthorn.Reason]int) {
	for reason, n := range ended {
		m.withdrawn.WithLabelValues(string(reason)).Add(float64(n))
	}
}

// Lanes shows how many lanes of this node are in which state.
func (m *Metrics) Lanes(read func() map[string]int) { m.registry.MustRegister(lanesCollector(read)) }

type lanesCollector func() map[string]int

var lanesDesc = prometheus.NewDesc("posthorn_lanes", "Lanes that this node knows by state.", []string{"state"}, nil)

// Describe names the series.
func (lanesCollector) Describe(to chan<- *prometheus.Desc) { to <- lanesDesc }

// Collect reads the states.
func (read lanesCollector) Collect(to chan<- prometheus.Metric) {
	for state, n := range read() {
		to <- prometheus.MustNewConstMetric(lanesDesc, prometheus.GaugeValue, float64(n), state)
	}
}
