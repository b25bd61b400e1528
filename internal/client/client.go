// Package client speaks to Posthorn's own HTTP API, for the commands of the program. It owns the requests, the answers'
// types, what an error answer says, and following the live stream across restarts of the server. What is printed, forwarded
// or compared is the commands' business (internal/console).
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// requestTime bounds one request, the live stream excepted.
	requestTime = 30 * time.Second
	// maxAnswer bounds what is read of one answer: a page of 200 rows with the longest texts is far below it.
	maxAnswer = 64 << 20
)

// Settings are where the server is and the key to it. The tags are kong's, as internal/config's are.
type Settings struct {
	URL string `env:"POSTHORN_URL" default:"http://localhost:8000" placeholder:"URL" help:"Where Posthorn's API is (${default})."`
	Key string `env:"POSTHORN_API_KEY" placeholder:"KEY" help:"API key." secret:"all"`
}

// Client makes requests with one key. It is safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
}

// New makes a Client; nothing is sent yet. The error is about the settings.
func New(s Settings) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(s.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("POSTHORN_URL (--url) must be where the API is, like http://localhost:8000")
	}
	if s.Key == "" {
		return nil, errors.New("no API key: set POSTHORN_API_KEY or --key; the first start of a server prints one")
	}
	// Redirects would carry the key elsewhere.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: base, key: s.Key, http: &http.Client{CheckRedirect: stay}}, nil
}

// URL is where the API is.
func (c *Client) URL() string { return c.base.String() }

// Do makes one request. A body that is not nil is sent as JSON, and the answer read into answer unless that is nil. An
// error answer is a *Problem.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		text = bytes.NewReader(encoded)
	}
	resp, err := c.send(ctx, method, path, query, text, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if answer == nil {
		return nil
	}
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if err := json.Unmarshal(read, answer); err != nil {
		return fmt.Errorf("%s %s: the answer is not what this version knows; is %s a Posthorn? %w", method, path, c.URL(), err)
	}
	return nil
}

// send makes a request and gives the answer, whose body is open, or a *Problem.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader, header http.Header) (*http.Response, error) {
	target := *c.base
	target.Path += path
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot reach Posthorn: %w", err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readProblem(resp)
}

// Problem is an error answer (RFC 9457).
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Errors    []FieldError `json:"errors"`
	RequestID string       `json:"request_id"`
	// RetryAfter is how long to wait; zero when the server did not say.
	RetryAfter time.Duration `json:"-"`
}

// FieldError is one bad field.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s", p.Status, p.Detail)
	for _, e := range p.Errors {
		fmt.Fprintf(&b, "\n  %s: %s", e.Location, e.Message)
	}
	if p.RequestID != "" && p.Status >= 500 {
		fmt.Fprintf(&b, " (request %s)", p.RequestID)
	}
	return b.String()
}

// Final reports whether repeating the same request would get the same answer.
func (p *Problem) Final() bool {
	return p.Status < 500 && p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
}

func readProblem(resp *http.Response) *Problem {
	p := &Problem{}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || json.Unmarshal(text, p) != nil || p.Detail == "" {
		p = &Problem{Detail: "the answer does not come from Posthorn; look at POSTHORN_URL (--url) and what stands before it"}
	}
	p.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

// Page is a page of a list; NextCursor is nil on the last one.
type Page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// maxPage is the longest page the API gives.
const maxPage = 200

// List reads pages until it has most rows, or all of them when most is zero. The list is newest first, as it came.
func List[T any](ctx context.Context, c *Client, path string, query url.Values, most int) ([]T, error) {
	all := []T{}
	if query == nil {
		query = url.Values{}
	}
	for {
		limit := maxPage
		if most > 0 {
			limit = min(maxPage, most-len(all))
		}
		query.Set("limit", strconv.Itoa(limit))
		var page Page[T]
		if err := c.Do(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		if page.NextCursor == nil || most > 0 && len(all) >= most {
			return all, nil
		}
		query.Set("cursor", *page.NextCursor)
	}
}
