package app_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestOddPaths sends what a tidy client would not, as it stands: nothing redirects it elsewhere, and each answer is a problem
// with a request id, like all others.
func TestOddPaths(t *testing.T) {
	s := startService(t)
	for line, want := range map[string]int{
		"GET //subscriptions": 404, "GET /subscriptions/.": 404, "GET /subscriptions//": 404, "PUT /subscriptions/../../etc/passwd": 404,
		"GET /subscriptions/../settings": 404, "DELETE /x/../events/%2e%2e": 404, "GET /subscriptions/%2e%2e/settings": 404,
		"GET /.//metrics/../healthz": 404, "CONNECT 127.0.0.1:6379": 405, "POST /metrics": 404, "GET http://127.0.0.1:1/nothing": 404,
	} {
		t.Run(line, func(t *testing.T) {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", line, serviceKey)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var problem struct{ Type, Detail string }
			if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || problem.Detail == "" {
				t.Errorf("no problem: %v", err)
			}
			if resp.StatusCode != want || resp.Header.Get("X-Request-Id") == "" {
				t.Errorf("answered %d with %v", resp.StatusCode, resp.Header)
			}
		})
	}
}
