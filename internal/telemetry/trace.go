package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/posthorn/posthorn"
)

// traceParent is the W3C header, and its name in a carrier.
const traceParent = "traceparent"

// Tracer makes the spans of a node and sends them to a collector by OTLP over HTTP: a request to the API, each event it
// publishes, and each attempt, on whatever node and day that is made. Its absence costs nothing: whoever could use one asks
// for nil first. Headers, timeouts, certificates, sampling and further attributes come from OpenTelemetry's own variables.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	// W3C trace context alone: baggage of strangers is not carried on.
	context propagation.TraceContext
}

// TracerOptions say where spans go and whose they are.
type TracerOptions struct {
	// URL takes the spans, such as http://collector:4318/v1/traces.
	URL     string
	Version string
	Node    posthorn.NodeID
	Host    string
	Log     *slog.Logger
}

// NewTracer makes a Tracer. It does not wait for the collector: spans are sent in the background, and dropped while it is
// out of reach. Shut it down to send the last.
func NewTracer(ctx context.Context, o TracerOptions) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.URL))
	if err != nil {
		return nil, fmt.Errorf("trace exporter: %w", err)
	}
	// The operator's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last and win.
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "posthorn"), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", o.Node.String()), attribute.String("host.name", o.Host),
	), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("trace resource: %w", err)
	}
	quiet := complaints{log: o.Log}
	otel.SetErrorHandler(&quiet)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/posthorn/posthorn", trace.WithInstrumentationVersion(o.Version))}, nil
}

// complaints logs what the library says of the collector, at most once a minute: an export fails with every batch.
type complaints struct {
	log  *slog.Logger
	last atomic.Int64
}

// Handle logs an error.
func (c *complaints) Handle(err error) {
	now := time.Now().Unix()
	if last := c.last.Load(); now-last >= 60 && c.last.CompareAndSwap(last, now) {
		c.log.Warn("traces not sent", "error", err)
	}
}

// Shutdown sends what is left, until ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// Request begins the span of a request to the API, below the producer's own where its traceparent says so. End takes the
// operation's path as documented and the status; without a path there is no span.
func (t *Tracer) Request(r *http.Request) (context.Context, func(path string, status int)) {
	ctx := t.context.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(path string, status int) {
		if path == "" || !span.IsRecording() {
			return // a span that does not end is not sent
		}
		span.SetName(r.Method + " " + path)
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", path),
			attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Publish begins the span of an event being accepted, and writes into the event the context that its attempts continue. End
// takes what became of it.
func (t *Tracer) Publish(ctx context.Context, e *posthorn.Event) func(*posthorn.Accepted) {
	ctx, span := t.tracer.Start(ctx, "publish "+e.Type, trace.WithSpanKind(trace.SpanKindProducer))
	carrier := propagation.MapCarrier{}
	t.context.Inject(ctx, carrier)
	e.TraceParent = carrier[traceParent]
	if !span.IsRecording() {
		return func(*posthorn.Accepted) {}
	}
	return func(a *posthorn.Accepted) {
		span.SetAttributes(attribute.String("posthorn.event.type", e.Type), attribute.String("posthorn.tenant.id", e.TenantID.String()),
			attribute.String("posthorn.event.id", a.EventID.String()), attribute.Int("posthorn.event.bytes", len(e.Payload)),
			attribute.Int("posthorn.event.deliveries", a.Deliveries), attribute.Bool("posthorn.event.duplicate", a.Duplicate))
		if a.Err != nil {
			// The text is for the producer, who has it.
			span.SetStatus(codes.Error, "refused")
		}
		span.End()
	}
}

// Attempt begins the span of an attempt, in the trace of its event's publish; an event that was published without a trace
// begins one here. The first result is the traceparent for the subscriber. End takes what came back.
func (t *Tracer) Attempt(c *posthorn.Claimed, host string) (string, func(*posthorn.Attempt)) {
	carrier := propagation.MapCarrier{traceParent: c.Event.TraceParent}
	ctx, span := t.tracer.Start(t.context.Extract(context.Background(), carrier), "attempt "+c.Event.Type, trace.WithSpanKind(trace.SpanKindClient))
	t.context.Inject(ctx, carrier)
	if !span.IsRecording() {
		return carrier[traceParent], func(*posthorn.Attempt) {}
	}
	return carrier[traceParent], func(a *posthorn.Attempt) {
		span.SetAttributes(attribute.String("posthorn.event.id", a.EventID.String()), attribute.String("posthorn.event.type", c.Event.Type),
			attribute.String("posthorn.tenant.id", a.TenantID.String()), attribute.String("posthorn.delivery.id", a.DeliveryID.String()),
			attribute.String("posthorn.subscription.id", a.SubscriptionID.String()), attribute.String("posthorn.attempt.id", a.ID.String()),
			attribute.Int("posthorn.attempt.number", a.Number), attribute.Bool("posthorn.attempt.manual", a.Manual),
			attribute.String("posthorn.attempt.outcome", string(a.Outcome)), attribute.String("http.request.method", http.MethodPost),
			attribute.String("server.address", host), attribute.Bool("posthorn.attempt.connection_reused", a.Timing.Reused))
		for name, phase := range map[string]time.Duration{
			"dns": a.Timing.DNS, "connect": a.Timing.Connect, "tls": a.Timing.TLS, "first_byte": a.Timing.FirstByte,
		} {
			if phase > 0 {
				span.SetAttributes(attribute.Float64("posthorn.attempt."+name+"_ms", float64(phase.Microseconds())/1000))
			}
		}
		if a.StatusCode > 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", a.StatusCode))
		}
		if a.Outcome != posthorn.Succeeded {
			span.SetAttributes(attribute.String("error.type", a.Error))
			span.SetStatus(codes.Error, string(a.Outcome))
		}
		span.End()
	}
}
