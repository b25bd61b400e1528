package bench

import (
	"bufio"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// queueOperations are the calls of the store that move deliveries, each one transaction, as the metrics name them.
var queueOperations = []string{"accept", "claim", "record", "renew", "release"}

// transactions counts the queue's transactions so far, as the server's metrics have them; false where it shows none.
func (c *client) transactions(ctx context.Context) (float64, bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	var sum float64
	found := false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), `posthorn_store_seconds_count{operation="`)
		if !ok {
			continue
		}
		operation, value, _ := strings.Cut(rest, `"} `)
		if n, err := strconv.ParseFloat(value, 64); err == nil && slices.Contains(queueOperations, operation) {
			sum, found = sum+n, true
		}
	}
	return sum, found
}
