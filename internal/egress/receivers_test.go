package egress

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn"
)

type receiversCorpus struct {
	Receivers []receiverCase `json:"receivers"`
}

// receiverCase is a row of testdata/receivers.json. Those with fields not listed here are about time, TLS, DNS or the
// schedule: the first three have tests of their own in this package, the last is the delivery engine's.
type receiverCase struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Receiver struct {
		Status  json.RawMessage            `json:"status"`
		Headers map[string]string          `json:"headers"`
		Gen     map[string]json.RawMessage `json:"headers_gen"`
		Body    string                     `json:"body"`
		Framing string                     `json:"framing"`
		Raw     string                     `json:"raw"`
		Delay   json.RawMessage            `json:"delay_s"`
		Drip    string                     `json:"drip"`
	} `json:"receiver"`
	Expect struct {
		Outcome  string `json:"outcome"`
		Error    string `json:"error"`
		Requests int    `json:"requests"`
	} `json:"expect"`
}

// response is what the receiver of a row writes.
func (c receiverCase) response(t *testing.T) (raw string, ok bool) {
	t.Helper()
	r := c.Receiver
	if r.Raw != "" {
		return r.Raw, true
	}
	var status int
	if json.Unmarshal(r.Status, &status) != nil || status == 0 || r.Delay != nil || r.Drip != "" {
		return "", false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d X\r\n", status)
	for name, value := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	for name, gen := range r.Gen {
		var repeat struct {
			Repeat string `json:"repeat"`
			Times  int    `json:"times"`
		}
		if err := json.Unmarshal(gen, &repeat); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.Repeat(repeat.Repeat, repeat.Times))
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		r.Body = ""
	} else if _, sized := r.Headers["Content-Length"]; !sized && r.Framing == "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	if r.Body == "10 GB" {
		r.Body = strings.Repeat("x", 1<<20)
	}
	return b.String() + "\r\n" + r.Body, true
}

func TestCorpusReceivers(t *testing.T) {
	eachCorpus(t, "receivers.json", func(t *testing.T, corpus receiversCorpus) {
		seen := 0
		for _, c := range corpus.Receivers {
			raw, ok := c.response(t)
			if !ok {
				continue
			}
			seen++
			t.Run(c.ID, func(t *testing.T) {
				rec := listen(t, "127.0.0.1:0", func(r *receiver, nc net.Conn) {
					if readRequest(r, bufio.NewReader(nc)) {
						_, _ = io.WriteString(nc, raw)
					}
				})
				r := post(loopbackClient(t), rec.url())
				success := strings.HasPrefix(c.Expect.Outcome, "success")
				either := strings.Contains(c.Expect.Outcome, " or ")
				if !either && success != (r.Outcome == posthorn.Succeeded) || r.OurFault {
					t.Errorf("%s: %s %s (%v), want %s", c.Name, r.Outcome, r.Code, r.Err, c.Expect.Outcome)
				}
				if c.Expect.Error != "" && r.Outcome != posthorn.InvalidResponse {
					t.Errorf("%s: %s %s, want it called %s", c.Name, r.Outcome, r.Code, c.Expect.Error)
				}
				if rec.requests.Load() != 1 {
					t.Errorf("%s: %d requests", c.Name, rec.requests.Load())
				}
				wantNoAddress(t, r)
			})
		}
		if seen == 0 {
			t.Error("no row of the corpus was understood")
		}
	})
}
