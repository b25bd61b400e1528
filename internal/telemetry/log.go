// Package telemetry makes the log, counts what happens and follows it in traces. It owns formats and names; what is worth telling is decided
// where it happens.
package telemetry

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// NewLog makes a logger. Level is debug, info, warn or error; format is text, json or auto: text when w is a terminal.
// The returned level can be changed while the logger is in use.
func NewLog(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar) {
	var threshold slog.LevelVar
	if err := threshold.UnmarshalText([]byte(level)); err != nil {
		threshold.Set(slog.LevelInfo)
	}
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: &threshold, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)})), &threshold
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &threshold, ReplaceAttr: withUnit})), &threshold
}

// withUnit writes a time as Go does, "1.588ms": JSON would have it as a number of nanoseconds that does not say so.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().Round(time.Microsecond).String())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
