package delivery

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestRetryAfter(t *testing.T) {
	cases := []struct {
		name, header string
		want         time.Duration
	}{
		{"None", "", -1},
		{"Seconds", "120", 2 * time.Minute},
		{"Zero", "0", 0},
		{"LeadingZeros", "000120", 2 * time.Minute},
		{"SpacesAround", " \t120 ", 2 * time.Minute},
		{"ADay", "86400", 24 * time.Hour},
		{"AYear", "31536000", 24 * time.Hour},
		{"TwentyDigits", "99999999999999999999", 24 * time.Hour},
		{"ThousandDigits", strings.Repeat("9", 1000), 24 * time.Hour},
		{"Negative", "-1", -1},
		{"Plus", "+120", -1},
		{"Fraction", "1.5", -1},
		{"Exponent", "1e300", -1},
		{"Infinite", "inf", -1},
		{"NotANumber", "NaN", -1},
		{"Hexadecimal", "0x10", -1},
		{"Underscores", "1_000", -1},
		{"FullWidthDigits", "１２０", -1},
		{"ArabicDigits", "١٢٠", -1},
		{"List", "120, 240", -1},
		{"Unit", "120s", -1},
		{"Words", "in a minute", -1},
		{"Bytes", "\xff\xfe", -1},
		{"Date", "Mon, 23 Nov 2026 12:05:00 GMT", 5 * time.Minute},
		{"DateRFC850", "Monday, 23-Nov-26 12:05:00 GMT", 5 * time.Minute},
		{"DateANSI", "Mon Nov 23 12:05:00 2026", 5 * time.Minute},
		{"DateNow", "Mon, 23 Nov 2026 12:00:00 GMT", -1},
		{"DatePast", "Sun, 22 Nov 2026 12:00:00 GMT", -1},
		{"DateNextYear", "Tue, 23 Nov 2027 12:00:00 GMT", 24 * time.Hour},
		{"DateFarFuture", "Fri, 31 Dec 9999 23:59:59 GMT", 24 * time.Hour},
		{"DateOtherZone", "Mon, 23 Nov 2026 12:05:00 CET", -1},
		{"DateISO", "2026-11-23T12:05:00Z", -1},
		{"DateImpossible", "Mon, 32 Nov 2026 12:05:00 GMT", -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := retryAfter(c.header, noon); got != c.want {
				t.Errorf("retryAfter(%q) = %s, want %s", c.header, got, c.want)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "1e300", "Mon, 23 Nov 2026 12:05:00 GMT", "１２０"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if got := retryAfter(header, noon); got < -1 || got > posthorn.MaxRetryAfter {
			t.Errorf("retryAfter(%q) = %s is out of bounds", header, got)
		}
	})
}

func TestThrottleFor(t *testing.T) {
	for status := 100; status <= 599; status++ {
		a := &posthorn.Attempt{StatusCode: status}
		asked, silent := throttleFor(a, 7*time.Second), throttleFor(a, -1)
		switch status {
		case 429:
			want(t, "429 with Retry-After", asked, 7*time.Second)
			want(t, "429 without", silent, time.Minute)
			want(t, "429 with zero", throttleFor(a, 0), 0)
		case 502, 503, 504:
			want(t, "asked", asked, 7*time.Second)
			want(t, "silent", silent, 0)
		default:
			want(t, "any other status", asked+silent, 0)
		}
	}
}
