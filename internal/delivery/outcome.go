package delivery

import (
	"log/slog"

	"github.com/posthorn/posthorn"
)

// logOutcomes writes one wide line for each recorded attempt: a delivery that ended without success is worth the usual log,
// the others are for whoever asks for debug. URLs are left out: they may hold credentials.
func (e *Engine) logOutcomes(batch []outcome, report posthorn.RecordReport) {
	debug := e.opts.Log.Enabled(e.life, slog.LevelDebug)
	for i, o := range batch {
		r, a := report.Results[i], o.result.Attempt
		ended := r.Moved && r.State == posthorn.Exhausted
		if a == nil || !ended && !debug {
			continue
		}
		level := slog.LevelDebug
		if ended {
			level = slog.LevelInfo
		}
		attrs := []slog.Attr{
			slog.String("outcome", string(a.Outcome)), slog.String("state", string(r.State)), slog.Int("number", a.Number),
			slog.Int("status", a.StatusCode), slog.Duration("took", a.Timing.Total), slog.String("error", a.Error),
			slog.String("event", a.EventID.String()), slog.String("type", o.item.Event.Type), slog.String("delivery", a.DeliveryID.String()),
			slog.String("subscription", a.SubscriptionID.String()), slog.String("tenant", a.TenantID.String()), slog.Bool("moved", r.Moved),
		}
		switch {
		case r.State == posthorn.Pending:
			attrs = append(attrs, slog.Duration("next_in", r.DueAt.Sub(r.At)))
		case o.result.Reason != posthorn.ReasonNone:
			attrs = append(attrs, slog.String("reason", string(o.result.Reason)))
		}
		e.opts.Log.LogAttrs(e.life, level, "attempt", attrs...)
	}
}
