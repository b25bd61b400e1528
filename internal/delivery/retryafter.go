package delivery

import (
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn"
)

// retryAfter reads a Retry-After header: a number of seconds or an HTTP date (RFC 9110, section 10.2.3), at most
// MaxRetryAfter. Anything else, the past included, is nothing and negative: a receiver's mistake must not stop its own
// deliveries, nor free it from the pause of a 429.
func retryAfter(header string, now time.Time) time.Duration {
	if header = strings.Trim(header, " \t"); header == "" {
		return -1
	}
	if seconds, ok := digits(header); ok {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil || !at.After(now) {
		return -1
	}
	return min(at.Sub(now), posthorn.MaxRetryAfter)
}

// digits reads ASCII digits, saturating at MaxRetryAfter.
func digits(s string) (int64, bool) {
	const most = int64(posthorn.MaxRetryAfter / time.Second)
	n := int64(0)
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), most)
	}
	return n, s != ""
}
