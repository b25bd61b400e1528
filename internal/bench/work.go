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

// work reads the server's metrics; false where it shows none.
func (c *client) work(ctx context.Context) (work, bool) {
	var w work
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/metrics", nil)
	if err != nil {
		return w, false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return w, false
	}
	defer resp.Body.Close()
	found := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		for metric, to := range map[string]*float64{
			"posthorn_store_transactions_total": &w.transactions, "posthorn_store_statements_total": &w.statements,
		} {
			if name == metric {
				if *to, err = strconv.ParseFloat(value, 64); err == nil {
					found++
				}
			}
		}
	}
	return w, found == 2
}
