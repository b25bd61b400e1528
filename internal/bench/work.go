package bench

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// work is what the server has asked of its database so far, as its metrics have it.
type work struct{ transactions, statements float64 }

// work reads the server's metrics. Where it shows none, as the forwarder, that is nothing.
func (c *client) work(ctx context.Context) (w work) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/metrics", nil)
	if err != nil {
		return work{}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return work{}
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "posthorn_store_transactions_total":
			w.transactions, err = strconv.ParseFloat(value, 64)
		case "posthorn_store_statements_total":
			w.statements, err = strconv.ParseFloat(value, 64)
		}
		if err != nil {
			return work{}
		}
	}
	return w
}
