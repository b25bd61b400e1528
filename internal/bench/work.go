package bench

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// work is what the server has asked of its database so far, as its metrics have it; not known where it shows none.
type work struct {
	transactions, statements float64
	known                    bool
}

// since is what was asked from an earlier reading on.
func (w work) since(before work) work {
	return work{w.transactions - before.transactions, w.statements - before.statements, w.known && before.known}
}

// work reads the server's metrics.
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
	w.known = found == 2
	return w
}
