package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthorn/posthorn"
)

// queueCollector asks the store at a scrape, at most once in queueAge whatever the number of scrapers.
type queueCollector struct {
	read func(ctx context.Context) (posthorn.Queue, error)

	mu   sync.Mutex
	last posthorn.Queue
	at   time.Time
}

var (
	queueDeliveries = prometheus.NewDesc("posthorn_queue_deliveries", "Pending deliveries by kind: all, due now, held.", []string{"kind"}, nil)
	queueOldest     = prometheus.NewDesc("posthorn_queue_oldest_due_seconds", "How long the oldest due delivery has been waiting.", nil, nil)
	queueRetries    = prometheus.NewDesc("posthorn_queue_retries_next_hour", "Retries scheduled within the next hour.", nil, nil)
)

// Describe names the series.
func (q *queueCollector) Describe(to chan<- *prometheus.Desc) {
	to <- queueDeliveries
	to <- queueOldest
	to <- queueRetries
}

// Collect leaves the series out when the store does not answer: a stale backlog would look like a healthy one.
func (q *queueCollector) Collect(to chan<- prometheus.Metric) {
	queue, err := q.current()
	if err != nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(queueDeliveries, float64(queue.Pending), "pending")
	gauge(queueDeliveries, float64(queue.Due), "due")
	gauge(queueDeliveries, float64(queue.Held), "held")
	gauge(queueOldest, queue.OldestDue.Seconds())
	if len(queue.Retries) > 0 {
		gauge(queueRetries, float64(queue.Retries[0]))
	}
}

func (q *queueCollector) current() (posthorn.Queue, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.at) < queueAge {
		return q.last, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	queue, err := q.read(ctx)
	if err == nil {
		q.last, q.at = queue, time.Now()
	}
	return queue, err
}
