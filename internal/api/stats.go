package api

import (
	"context"
	"time"

	"github.com/posthorn/posthorn"
)

// maxPoints bounds a time series.
const maxPoints = 1500

// statsSteps are the steps a client can name, shortest first.
var statsSteps = []struct {
	name string
	step time.Duration
}{
	{"1m", time.Minute}, {"5m", 5 * time.Minute}, {"15m", 15 * time.Minute}, {"1h", time.Hour}, {"6h", 6 * time.Hour}, {"1d", 24 * time.Hour},
}

type statsQuery struct {
	SubscriptionID subscriptionRef `query:"subscription_id"`
	Since          moment          `query:"since" doc:"24 hours ago by default."`
	Until          moment          `query:"until" doc:"Now by default."`
	Step           string          `query:"step" enum:"1m,5m,15m,1h,6h,1d" doc:"By default the shortest that gives at most 300 points."`
}

// statsView is a time series.
type statsView struct {
	Since       time.Time    `json:"since"`
	Until       time.Time    `json:"until"`
	StepSeconds int          `json:"step_seconds"`
	BoundsMS    []float64    `json:"bounds_ms" doc:"Upper bounds of the histograms' buckets; the last bucket is above all of them."`
	Totals      statsCounts  `json:"totals"`
	Data        []statsPoint `json:"data" doc:"Steps in which nothing happened are left out."`
}

// statsCounts is what happened in a time.
type statsCounts struct {
	Accepted  int64     `json:"accepted" doc:"Events."`
	Attempts  int64     `json:"attempts"`
	Succeeded int64     `json:"succeeded" doc:"Deliveries."`
	Failed    int64     `json:"failed" doc:"Attempts without success."`
	Retried   int64     `json:"retried" doc:"Attempts after a delivery's first."`
	Exhausted int64     `json:"exhausted" doc:"Deliveries given up."`
	Latency   histogram `json:"latency" doc:"From acceptance to success."`
	Duration  histogram `json:"duration" doc:"Of the attempts themselves."`
}

// histogram of times, with quantiles estimated from its buckets.
type histogram struct {
	P50MS   *float64 `json:"p50_ms"`
	P95MS   *float64 `json:"p95_ms"`
	P99MS   *float64 `json:"p99_ms"`
	Buckets []int64  `json:"buckets"`
}

type statsPoint struct {
	At        time.Time `json:"at"`
	Accepted  int64     `json:"accepted"`
	Attempts  int64     `json:"attempts"`
	Succeeded int64     `json:"succeeded"`
	Failed    int64     `json:"failed"`
	Retried   int64     `json:"retried"`
	Exhausted int64     `json:"exhausted"`
	Latency   histogram `json:"latency"`
	Duration  histogram `json:"duration"`
}

func (h *Handler) getStats(ctx context.Context, c *call, q *statsQuery) (*reply[statsView], error) {
	f, err := q.filter(h.store.Now().UTC())
	if err != nil {
		return nil, err
	}
	points, err := h.store.Stats(ctx, c.tenant(), f)
	if err != nil {
		return nil, err
	}
	view := statsView{
		Since: f.Since, Until: f.Until, StepSeconds: int(f.Step.Seconds()), Data: make([]statsPoint, len(points)),
	}
	for _, bound := range posthorn.LatencyBounds {
		view.BoundsMS = append(view.BoundsMS, milliseconds(bound))
	}
	var sum posthorn.StatsPoint
	for i := range points {
		p := &points[i]
		is := showCounts(p)
		view.Data[i] = statsPoint{
			p.At.UTC(), is.Accepted, is.Attempts, is.Succeeded, is.Failed, is.Retried, is.Exhausted, is.Latency, is.Duration,
		}
		add(&sum, p)
	}
	view.Totals = showCounts(&sum)
	return replyWith(view), nil
}

// filter reads the query; the range is cut to whole steps, so that its points do not move while time goes on.
func (q *statsQuery) filter(now time.Time) (posthorn.StatsFilter, error) {
	f := posthorn.StatsFilter{SubscriptionID: q.SubscriptionID.SubscriptionID, Since: q.Since.Time, Until: q.Until.Time}
	if f.Until.IsZero() {
		f.Until = now
	}
	if f.Since.IsZero() {
		f.Since = f.Until.Add(-24 * time.Hour)
	}
	if f.Until.Before(f.Since) {
		return f, invalid("query.until", "must not be before since")
	}
	length := f.Until.Sub(f.Since)
	for _, s := range statsSteps {
		if q.Step == s.name || q.Step == "" && f.Step == 0 && length <= 300*s.step {
			f.Step = s.step
		}
	}
	switch {
	case f.Step == 0 && q.Step != "":
		return f, invalid("query.step", "must be one of 1m, 5m, 15m, 1h, 6h, 1d")
	case f.Step == 0 || length > maxPoints*f.Step:
		return f, invalid("query.since", "is too long ago: a series has at most %d steps; choose a longer step or a shorter time", maxPoints)
	}
	f.Since = f.Since.Truncate(f.Step)
	return f, nil
}

func showCounts(p *posthorn.StatsPoint) statsCounts {
	return statsCounts{
		Accepted: p.Accepted, Attempts: p.Attempts, Succeeded: p.Succeeded, Failed: p.Failed, Retried: p.Retried,
		Exhausted: p.Exhausted, Latency: showHistogram(&p.Latency), Duration: showHistogram(&p.Duration),
	}
}

func add(sum, p *posthorn.StatsPoint) {
	sum.Accepted += p.Accepted
	sum.Attempts += p.Attempts
	sum.Succeeded += p.Succeeded
	sum.Failed += p.Failed
	sum.Retried += p.Retried
	sum.Exhausted += p.Exhausted
	for i := range p.Latency {
		sum.Latency[i] += p.Latency[i]
		sum.Duration[i] += p.Duration[i]
	}
}

func showHistogram(buckets *[posthorn.LatencyBuckets]int64) histogram {
	return histogram{
		P50MS: quantile(buckets, 0.50), P95MS: quantile(buckets, 0.95), P99MS: quantile(buckets, 0.99), Buckets: buckets[:],
	}
}

// quantile estimates a quantile by the line through its bucket; above all bounds it is the last bound. Nil without data.
func quantile(buckets *[posthorn.LatencyBuckets]int64, q float64) *float64 {
	var total int64
	for _, n := range buckets {
		total += n
	}
	if total == 0 {
		return nil
	}
	rank := q * float64(total)
	var below int64
	for i, n := range buckets {
		if n == 0 || float64(below+n) < rank {
			below += n
			continue
		}
		low, high := 0.0, milliseconds(posthorn.LatencyBounds[len(posthorn.LatencyBounds)-1])
		if i > 0 {
			low = milliseconds(posthorn.LatencyBounds[i-1])
		}
		if i < len(posthorn.LatencyBounds) {
			high = milliseconds(posthorn.LatencyBounds[i])
		}
		ms := low + (high-low)*(rank-float64(below))/float64(n)
		return &ms
	}
	return nil
}
