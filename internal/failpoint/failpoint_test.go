package failpoint_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/bubble"
	"github.com/posthorn/posthorn/internal/failpoint"
)

func parse(t *testing.T, text string) *failpoint.Points {
	t.Helper()
	p, err := failpoint.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, fault string }{
		{"", ""},
		{" ; ", ""},
		{"record.before=kill@37", ""},
		{"record.before=delay(20ms)@3-7; claim.commit=error@2- ;request.after=stop~1s", ""},
		{"clock=step(-1h)~5s", ""},
		{"dns=answer(127.0.0.1)", ""},
		{"record.between=kill", "not a fail point"},
		{"record.before", "must be kill"},
		{"record.before=explode", "must be kill"},
		{"record.before=kill@0", "@ must"},
		{"record.before=kill@7-3", "@ must"},
		{"record.before=kill@x", "@ must"},
		{"record.before=kill~soon", "~ must"},
		{"record.before=delay", "bad value"},
		{"record.before=step(1h)", "does not go here"},
		{"claim.before=answer(127.0.0.1)", "does not go here"},
	} {
		_, err := failpoint.Parse(c.text)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("Parse(%q): %v, want %q", c.text, err, c.fault)
		}
	}
}

func TestErrorComesOnTheTimesAsked(t *testing.T) {
	p := parse(t, "claim.before=error@2-3;claim.after=error@2")
	for n, want := range []bool{false, true, true, false} {
		if err := p.Hit(failpoint.ClaimBefore); errors.Is(err, failpoint.ErrInjected) != want {
			t.Errorf("claim.before %d: %v", n+1, err)
		}
		if err := p.Hit(failpoint.ClaimAfter); (err != nil) != (n == 1) {
			t.Errorf("claim.after %d: %v", n+1, err)
		}
		if err := p.Hit(failpoint.RecordBefore); err != nil {
			t.Errorf("a point that is not armed: %v", err)
		}
	}
}

func TestDelayAndClock(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := parse(t, "request.before=delay(3s);clock=step(-1h)~5s;clock=step(24h)~8s;dns=answer(127.0.0.1)")
		began := time.Now()
		if err := p.Hit(failpoint.RequestBefore); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := p.Hit(failpoint.Clock); err != nil || !p.Steps() {
			t.Error(err)
		}
		for _, want := range []time.Duration{0, -time.Hour, 23 * time.Hour} {
			if off := time.Until(p.Now()); off != want {
				t.Errorf("the clock is off by %s, want %s", off, want)
			}
			time.Sleep(6 * time.Second)
			synctest.Wait()
		}
		if addr, ok, err := p.Answer(); !ok || err != nil || addr.String() != "127.0.0.1" {
			t.Errorf("names are at %s, %v %v", addr, ok, err)
		}
	})
}

func TestAnswerComesOnTheTimesAsked(t *testing.T) {
	p := parse(t, "dns=answer(127.0.0.1)@1-2;dns=error@2;dns=answer(10.1.2.3)@4-")
	for n, want := range []string{"127.0.0.1", "an error", "invalid IP", "10.1.2.3", "10.1.2.3"} {
		addr, ok, err := p.Answer()
		got := addr.String()
		if err != nil {
			got = "an error"
		}
		if got != want || ok != addr.IsValid() {
			t.Errorf("look-up %d: %s %v, want %s", n+1, got, ok, want)
		}
	}
}

func TestNoneIsFree(t *testing.T) {
	p := parse(t, "")
	if p != nil || p.Steps() {
		t.Error("something is armed")
	}
	if _, ok, err := p.Answer(); ok || err != nil {
		t.Errorf("names have an address, %v", err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = p.Hit(failpoint.RecordBefore) }); n != 0 {
		t.Errorf("a point that is not armed allocates %g times", n)
	}
}

// TestKillIsNoExit runs this test again as a process of its own that kills itself the second time it passes a point.
func TestKillIsNoExit(t *testing.T) {
	if points := os.Getenv("FAILPOINT_TEST"); points != "" {
		p := parse(t, points)
		for range 3 {
			_ = p.Hit(failpoint.RecordAfter)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "FAILPOINT_TEST=record.after=kill@2")
	out, err := cmd.CombinedOutput()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err == nil || !ok || status.Signal() != syscall.SIGKILL || !strings.Contains(string(out), "record.after passed 2 times: kill") {
		t.Errorf("it ended with %v:\n%s", err, out)
	}
}
