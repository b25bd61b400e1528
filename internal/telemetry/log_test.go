package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"
)

func TestLogTimes(t *testing.T) {
	for want, took := range map[string]time.Duration{"1.588ms": 1588457, "0s": 3, "2.5s": 2500 * time.Millisecond, "1h0m0s": time.Hour} {
		var text bytes.Buffer
		log, _ := NewLog(&text, "info", "json")
		log.Info("done", "took", took, slog.Group("inner", "took", took), "events", 7)
		var line struct {
			Took   string
			Inner  struct{ Took string }
			Events int
		}
		if err := json.Unmarshal(text.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", &text, err)
		}
		if line.Took != want || line.Inner.Took != want || line.Events != 7 {
			t.Errorf("%s, want %s", &text, want)
		}
	}
}
