package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
)

// badRequest is a case of the corpus; its "contract" says what the fields mean.
type badRequest struct {
	ID, Group, Op, Rationale, Check, Note string
	Expect, Never                         []int
	Auth                                  string
	Headers                               map[string]*string
	HeadersList                           [][2]string `json:"headers_list"`
	Raw                                   *string
	RawHTTP                               string `json:"raw_http"`
	Set                                   map[string]json.RawMessage
	SetGen                                map[string]json.RawMessage `json:"set_gen"`
	Unset                                 []string
	BodyGen                               json.RawMessage            `json:"body_gen"`
	QueryRaw                              string                     `json:"query_raw"`
	QueryGen                              map[string]json.RawMessage `json:"query_gen"`
	PathID                                *string                    `json:"path_id"`
	Precondition                          string
	Sequence                              []string
	Concurrency                           int
	Rate                                  json.RawMessage
}

// elsewhere are the cases that other tests of this package and of the service prove, which need more than a request.
func (c *badRequest) elsewhere() bool { return c.Precondition == "disk full" || c.Rate != nil }

// TestBadRequests runs the cases kept here and, where it is, the whole corpus.
func TestBadRequests(t *testing.T) {
	files := []string{"testdata/bad_requests.json"}
	folder := os.Getenv("POSTHORN_CORPUS")
	if folder == "" {
		folder = "../../../shared/corpus"
	}
	if more := filepath.Join(folder, "bad_requests.json"); exists(more) {
		files = append(files, more)
	}
	s := openBench(t)
	ran := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		var corpus struct{ Cases []badRequest }
		must(t, json.Unmarshal(text, &corpus))
		for _, c := range corpus.Cases {
			if c.elsewhere() || ran[c.ID] {
				continue
			}
			ran[c.ID] = true
			for op := range strings.SplitSeq(c.Op, "|") {
				if !strings.Contains(op, " ") {
					op = "GET " + op
				}
				t.Run(c.ID+strings.ReplaceAll(op[strings.IndexByte(op, ' '):], " /", "-"), func(t *testing.T) { s.run(t, c, op) })
			}
		}
	}
	if len(ran) < 100 {
		t.Errorf("only %d cases ran", len(ran))
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// bench is a site with the things that cases speak of.
type bench struct {
	*site
	keys     map[string]string
	ids      map[string]string
	maxEvent int
	// leak finds what no log may hold: a panic, or a secret with something behind its prefix.
	leak *regexp.Regexp
}

func openBench(t *testing.T) *bench {
	s := open(t, nil)
	b := &bench{site: s, maxEvent: 256 << 10, ids: map[string]string{}, leak: regexp.MustCompile(`panic|whsec_[\w+/]`)}
	b.keys = map[string]string{
		"": s.admin, "none": "", "valid-truncate1": s.admin[:len(s.admin)-1],
		"expired":     s.addKey(s.home, func(k *posthorn.Key) { k.ExpiresAt = s.store.Now().Add(-time.Minute) }, posthorn.ScopeAdmin),
		"revoked":     s.addKey(s.home, func(k *posthorn.Key) { k.RevokedAt = s.store.Now().Add(-time.Minute) }, posthorn.ScopeAdmin),
		"read-only":   s.addKey(s.home, nil, posthorn.ScopeRead),
		"read":        s.addKey(s.home, nil, posthorn.ScopeRead),
		"publish":     s.addKey(s.home, nil, posthorn.ScopePublish),
		"other":       s.foreign,
		"othertenant": s.foreign,
	}
	s.workAlong(nil)
	b.ids["{sub_id}"] = s.subscribe(s.admin, nil)
	b.ids["{other_tenant_sub_id}"] = s.subscribe(s.foreign, nil)
	b.ids["{event_id}"] = s.publish(s.admin, "a.b")
	event := s.publish(s.foreign, "a.b")
	b.ids["{other_tenant_event_id}"] = event
	b.ids["{other_tenant_delivery_id}"] = s.deliveries(s.foreign, event)[0].ID.String()
	b.ids["{delivery_id}"] = s.deliveries(s.admin, b.ids["{event_id}"])[0].ID.String()
	return b
}

func (b *bench) run(t *testing.T, c badRequest, op string) {
	for _, a := range b.send(t, c, op) {
		b.check(t, &c, a)
	}
	if a := b.call(http.MethodGet, "/healthz", "", nil); a.status != http.StatusOK {
		t.Errorf("health is %d after it", a.status)
	}
	if text := b.log.String(); b.leak.MatchString(text) || strings.Contains(text, b.admin) {
		t.Errorf("the log holds a panic or a secret: %s", text)
	}
}

func (b *bench) send(t *testing.T, c badRequest, op string) []answered {
	if c.RawHTTP != "" {
		return []answered{b.sendRaw(t, strings.ReplaceAll(c.RawHTTP, "<valid>", b.admin))}
	}
	if len(c.Sequence) > 0 {
		return b.sendSequence(t, c, op)
	}
	if c.Concurrency > 0 {
		return b.sendTogether(t, c, op)
	}
	method, path, _ := strings.Cut(op, " ")
	if c.Precondition == "already deleted" {
		id := b.subscribe(b.admin, nil)
		b.call(http.MethodDelete, "/subscriptions/"+id, b.admin, nil).want(http.StatusNoContent)
		c.PathID = &id
	}
	return []answered{b.do(b.request(t, c, method, path))}
}

// request builds what a case describes.
func (b *bench) request(t *testing.T, c badRequest, method, path string) *http.Request {
	t.Helper()
	var body io.Reader
	if method != http.MethodGet && method != http.MethodDelete {
		body = b.body(t, c, op{method, path})
	}
	r, err := http.NewRequestWithContext(t.Context(), method, b.server.URL, body)
	must(t, err)
	r.URL.Opaque = b.path(c, path)
	r.URL.RawQuery = b.query(t, c)
	r.Header.Set("Content-Type", "application/json")
	if key := b.keys[c.Auth]; key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for name, value := range c.Headers {
		r.Header.Del(name)
		if value != nil {
			r.Header[http.CanonicalHeaderKey(name)] = []string{*value}
		}
	}
	for _, h := range c.HeadersList {
		r.Header.Add(h[0], h[1])
	}
	return r
}

type op struct{ method, path string }

func (b *bench) path(c badRequest, path string) string {
	id := b.ids["{sub_id}"]
	switch {
	case strings.HasPrefix(path, "/deliveries/"):
		id = b.ids["{delivery_id}"]
	case strings.HasPrefix(path, "/events/"):
		id = b.ids["{event_id}"]
	}
	if c.PathID != nil {
		id = *c.PathID
		b.ids["{other_tenant_id}"] = b.ids["{other_tenant_sub_id}"]
		if strings.HasPrefix(path, "/deliveries/") {
			b.ids["{other_tenant_id}"] = b.ids["{other_tenant_delivery_id}"]
		}
		for name, value := range b.ids {
			id = strings.ReplaceAll(id, name, value)
		}
	}
	return strings.ReplaceAll(path, "{id}", id)
}

func (b *bench) query(t *testing.T, c badRequest) string {
	query := c.QueryRaw
	if strings.Contains(query, "<truncated>") || strings.Contains(query, "<other-tenant>") {
		b.subscribe(b.foreign, nil)
		cursor := b.call(http.MethodGet, "/subscriptions?limit=1", b.foreign, nil).want(http.StatusOK).object()["next_cursor"].(string)
		query = strings.ReplaceAll(query, "<other-tenant>", cursor)
		query = strings.ReplaceAll(query, "<truncated>", cursor[:len(cursor)-1])
	}
	for name, gen := range c.QueryGen {
		query += name + "=" + url.QueryEscape(string(generate(t, gen)))
	}
	return query
}

// body is the valid body of an operation with the case's changes.
func (b *bench) body(t *testing.T, c badRequest, o op) io.Reader {
	valid := map[string]string{"url": `"https://example.com/hook"`, "event_types": `["order.created"]`}
	switch {
	case strings.HasSuffix(o.path, "/rotate"), strings.HasSuffix(o.path, "/replay"):
		valid = map[string]string{}
	case strings.HasPrefix(o.path, "/events"):
		valid = map[string]string{"type": `"order.created"`, "payload": `{"id":1}`}
	}
	for name, value := range c.Set {
		text := string(value)
		for id, is := range b.ids {
			text = strings.ReplaceAll(text, id, is)
		}
		valid[name] = unwrap(t, []byte(text))
	}
	for name, gen := range c.SetGen {
		b.setGenerated(t, valid, name, gen)
	}
	for _, name := range c.Unset {
		delete(valid, name)
	}
	text := object(valid)
	switch {
	case c.Raw != nil:
		return strings.NewReader(strings.ReplaceAll(*c.Raw, "<valid>", text))
	case c.BodyGen != nil:
		if chunked, ok := asChunked(t, c.BodyGen); ok {
			return chunked
		}
		return bytes.NewReader(generate(t, c.BodyGen))
	}
	return strings.NewReader(text)
}

func object(fields map[string]string) string {
	var parts []string
	for name, value := range fields {
		parts = append(parts, fmt.Sprintf("%q:%s", name, value))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

// unwrap is a value's JSON, or the raw text of {"$raw": …}.
func unwrap(t *testing.T, value []byte) string {
	var raw struct {
		Raw *string `json:"$raw"`
	}
	if value[0] == '{' {
		must(t, json.Unmarshal(value, &raw))
	}
	if raw.Raw != nil {
		return *raw.Raw
	}
	return string(value)
}

func (b *bench) setGenerated(t *testing.T, valid map[string]string, name string, gen json.RawMessage) {
	if name == "payload_bytes" {
		n := b.maxEvent
		if strings.Contains(string(gen), "limit+1") {
			n++
		}
		valid["payload"] = `"` + strings.Repeat("x", n-2) + `"`
		return
	}
	var header struct {
		Name  json.RawMessage `json:"$name"`
		Value string          `json:"$value"`
	}
	if json.Unmarshal(gen, &header) == nil && header.Name != nil {
		valid[name] = object(map[string]string{string(generate(t, header.Name)): fmt.Sprintf("%q", header.Value)})
		return
	}
	text := string(generate(t, gen))
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		text = fmt.Sprintf("%q", text)
	}
	valid[name] = text
}

// generate makes the text of a generator.
func generate(t *testing.T, gen json.RawMessage) []byte {
	t.Helper()
	var literal string
	if json.Unmarshal(gen, &literal) == nil {
		return []byte(literal)
	}
	var g struct {
		Repeat     *string
		Times      int
		Concat     []json.RawMessage
		ObjectKeys int             `json:"object_keys"`
		ArrayOf    json.RawMessage `json:"array_of"`
		ObjectOf   json.RawMessage `json:"object_of"`
		Gzip       json.RawMessage
		Chunked    json.RawMessage
	}
	must(t, json.Unmarshal(gen, &g))
	var b bytes.Buffer
	switch {
	case g.Repeat != nil:
		b.WriteString(strings.Repeat(*g.Repeat, g.Times))
	case g.Concat != nil:
		for _, part := range g.Concat {
			b.Write(generate(t, part))
		}
	case g.ObjectKeys > 0:
		b.WriteByte('{')
		for i := range g.ObjectKeys {
			fmt.Fprintf(&b, `%s"k%d":1`, comma(i), i)
		}
		b.WriteByte('}')
	case g.ArrayOf != nil:
		b.WriteByte('[')
		for i := range g.Times {
			b.WriteString(comma(i) + string(g.ArrayOf))
		}
		b.WriteByte(']')
	case g.ObjectOf != nil:
		b.WriteByte('{')
		for i := range g.Times {
			fmt.Fprintf(&b, `%s"k%d":%s`, comma(i), i, g.ObjectOf)
		}
		b.WriteByte('}')
	case g.Gzip != nil:
		w := gzip.NewWriter(&b)
		_, err := w.Write(generate(t, g.Gzip))
		must(t, err)
		must(t, w.Close())
	case g.Chunked != nil:
		b.Write(generate(t, g.Chunked))
	default:
		t.Fatalf("unknown generator %s", gen)
	}
	return b.Bytes()
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

// asChunked is a body whose length the client does not tell.
func asChunked(t *testing.T, gen json.RawMessage) (io.Reader, bool) {
	var g struct{ Chunked json.RawMessage }
	if json.Unmarshal(gen, &g) != nil || g.Chunked == nil {
		return nil, false
	}
	return io.MultiReader(bytes.NewReader(generate(t, g.Chunked))), true
}

// sendRaw writes bytes to a socket, says that nothing follows, and reads one answer.
func (s *site) sendRaw(t *testing.T, text string) answered {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, text)
	must(t, err)
	must(t, conn.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(conn)
	must(t, err)
	if n := bytes.Count(all, []byte("HTTP/1.1 ")); n > 1 {
		t.Errorf("%d answers to one request: %s", n, all)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), nil)
	if err != nil {
		return answered{t: t, status: 400, header: nil}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return answered{t, resp.StatusCode, resp.Header, body}
}

// sendSequence is a refused publish and then a good one with the same key.
func (b *bench) sendSequence(t *testing.T, c badRequest, o string) []answered {
	method, path, _ := strings.Cut(o, " ")
	key := "sequence-" + c.ID
	c.Headers = map[string]*string{"Idempotency-Key": &key}
	var last answered
	for _, step := range c.Sequence {
		one := c
		if step == "invalid" {
			one.Unset = []string{"type"}
		}
		last = b.do(b.request(t, one, method, path))
	}
	return []answered{last}
}

// sendTogether repeats a publish with one key at the same time: all answers name one event.
func (b *bench) sendTogether(t *testing.T, c badRequest, o string) []answered {
	method, path, _ := strings.Cut(o, " ")
	key := "together-" + c.ID
	c.Headers = map[string]*string{"Idempotency-Key": &key}
	answers := make([]answered, c.Concurrency)
	var all sync.WaitGroup
	for i := range answers {
		r := b.request(t, c, method, path)
		all.Go(func() { answers[i] = b.do(r) })
	}
	all.Wait()
	events := map[any]bool{}
	for _, a := range answers {
		if a.status < 300 {
			events[a.object()["id"]] = true
		}
	}
	if len(events) != 1 {
		t.Errorf("%d events under one key", len(events))
	}
	return answers
}

func (b *bench) check(t *testing.T, c *badRequest, a answered) {
	t.Helper()
	// A note may admit more than net/http lets us answer.
	noted := c.RawHTTP != "" && strings.Contains(c.Note, strconv.Itoa(a.status))
	if !slices.Contains(c.Expect, a.status) && !noted || slices.Contains(c.Never, a.status) {
		t.Errorf("%s (%s): answered %d, want one of %v: %.300s", c.Op, c.Rationale, a.status, c.Expect, a.body)
	}
	// What net/http itself refuses never reaches the handler.
	if c.RawHTTP != "" || a.status == http.StatusRequestHeaderFieldsTooLarge {
		return
	}
	if a.header.Get(requestIDHeader) == "" {
		t.Error("no request id")
	}
	if a.status >= 400 {
		var p problem
		a.into(&p)
		if a.header.Get("Content-Type") != problemType || p.Type == "" || p.Detail == "" || p.Status != a.status {
			t.Errorf("not a problem: %s", a.body)
		}
		if a.status == http.StatusUnprocessableEntity && len(p.Errors) == 0 {
			t.Errorf("no field is named: %s", a.body)
		}
	}
	for _, leak := range []string{"goroutine", "SELECT", "sqlite", ".go:", "whsec_AAAA", "127.0.0.1"} {
		if bytes.Contains(a.body, []byte(leak)) {
			t.Errorf("the answer holds %s: %.300s", leak, a.body)
		}
	}
}
