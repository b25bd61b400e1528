package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/auth"
)

const (
	requestIDHeader = "X-Request-Id"
	jsonType        = "application/json"
	mergePatchType  = "application/merge-patch+json"
)

// call is one request on its way: what is learned about it, and its answer's writer, which notes the status.
type call struct {
	http.ResponseWriter
	request  *http.Request
	id       string
	from     netip.Addr
	identity *auth.Identity
	path     string
	status   int
	// cause is what the log should say about an error answer.
	cause error
	// object is the id in the path; change is what the handler has said of what it did.
	object string
	change *change
	// traced ends the request's span; nil without one.
	traced func(path string, status int)
	work   work
}

// livePath is that of the streams, which last as long as their client.
const livePath = "/live"

// traced leaves out what is asked for again and again, and streams.
func traced(path string) bool {
	return path != livePath && path != "/healthz" && !strings.HasPrefix(path, "/health")
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

func (c *call) tenant() posthorn.TenantID { return c.identity.Tenant.ID }

// WriteHeader notes the status.
func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write notes the status that a first write implies.
func (c *call) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *call) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Flush sends what is buffered.
func (c *call) Flush() { _ = http.NewResponseController(c.ResponseWriter).Flush() }

// enter is the outermost layer: request id, security headers, the catching of panics, and the one log line of a request.
func (h *Handler) enter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		c := &call{ResponseWriter: w, id: requestID(r), from: auth.ClientAddr(r, h.opts.TrustedProxies)}
		ctx := r.Context()
		if h.opts.Trace != nil && traced(r.URL.Path) {
			ctx, c.traced = h.opts.Trace(r)
		}
		c.work = work{h.terms.current(start), ctx, c}
		if r.URL.Path == livePath {
			c.work.Context = ctx
		}
		c.request = r.WithContext(&c.work)
		secure(w.Header(), c.id)
		if len(r.TransferEncoding) > 0 {
			// net/http has dropped a Content-Length beside it. Where a proxy believed that one instead, what follows on this
			// connection is not what the proxy thinks (RFC 9112, section 11.2): so nothing follows.
			w.Header().Set("Connection", "close")
		}
		defer func() {
			if v := recover(); v != nil {
				h.panicked(c, v)
			}
			h.leave(c, time.Since(start))
		}()
		next.ServeHTTP(c, c.request)
	})
}

// panicked answers a panic: a fault of ours, of which the client learns nothing. http.ErrAbortHandler goes on.
func (h *Handler) panicked(c *call, v any) {
	if v == http.ErrAbortHandler {
		panic(v)
	}
	c.cause = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
	if c.status == 0 {
		writeProblem(c, unexpected(c.cause))
	}
}

// leave logs and counts an answered request.
func (h *Handler) leave(c *call, took time.Duration) {
	if h.opts.Observe != nil {
		h.opts.Observe(c.request.Method, c.path, c.status, took)
	}
	if c.traced != nil {
		c.traced(c.path, c.status)
	}
	level := slog.LevelDebug
	switch {
	case c.status == http.StatusInternalServerError:
		level = slog.LevelError
	case c.status > http.StatusInternalServerError:
		level = slog.LevelWarn
	}
	if !h.log.Enabled(c.request.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", c.request.Method), slog.String("path", c.path), slog.Int("status", c.status),
		slog.Duration("took", took), slog.String("request", c.id), slog.String("from", c.from.String()),
	}
	if c.identity != nil {
		attrs = append(attrs, slog.String("key", c.identity.Key.ID.String()), slog.String("tenant", c.identity.Tenant.Name))
	}
	if c.cause != nil {
		attrs = append(attrs, slog.Any("error", c.cause))
	}
	h.log.LogAttrs(c.request.Context(), level, "request", attrs...)
}

// requestID takes over a client's id of 1 to 64 harmless characters, or makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	sane := id != "" && len(id) <= 64 && strings.IndexFunc(id, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.:", c))
	}) < 0
	if sane {
		return id
	}
	return "req_" + strconv.FormatUint(rand.Uint64(), 36)
}

// secure sets what every answer has. Pages set their own content security policy over this one.
func secure(header http.Header, id string) {
	values := []string{
		id, "nosniff", "DENY", "no-referrer", "same-origin", "default-src 'none'; frame-ancestors 'none'", "no-store",
	}
	for i, name := range [...]string{
		requestIDHeader, "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy",
		"Content-Security-Policy", "Cache-Control",
	} {
		// One array for all; each slice ends where the next begins, so that appending to one moves it away.
		header[name] = values[i : i+1 : i+1]
	}
}

// bodies are the bodies under way: buffers for reuse, and how many bytes they hold together.
type bodies struct {
	idle sync.Pool
	held atomic.Int64
}

// buffer holds a body while it is being answered.
type buffer struct {
	bytes.Buffer
	of   *bodies
	held int64
}

const (
	// keptBuffer bounds the buffers that are kept for reuse.
	keptBuffer = 1 << 20
	// maxBodies bounds all bodies under way. A buffer that grows is up to twice as large, so that a thousand clients
	// who send large bodies slowly cost at most 64 MiB.
	maxBodies = 32 << 20
	// maxDrained is how much of a body that is too large is read and forgotten: a client that only reads the answer when it has
	// sent everything would find its connection reset instead.
	maxDrained = 16 << 20
)

var errBodies = errors.New("too many bodies at once")

// meter counts a body as it arrives.
type meter struct {
	from io.Reader
	into *buffer
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.into.held += int64(n)
	if m.into.of.held.Add(int64(n)) > maxBodies {
		return n, errBodies
	}
	return n, err
}

func (b *buffer) free() {
	b.of.held.Add(-b.held)
	b.held = 0
	if b.Cap() <= keptBuffer {
		b.Reset()
		b.of.idle.Put(b)
	}
}

// readBody reads the whole body within the operation's bound. It belongs to the caller until freed.
func (h *Handler) readBody(c *call, op *operation) (*buffer, error) {
	if err := c.checkMedia(op); err != nil {
		return nil, err
	}
	if c.request.ContentLength > op.maxBody {
		c.drain()
		return nil, tooLarge(op.maxBody)
	}
	of := &h.bodies
	if op.open {
		// Those who show no key have a bound of their own, so that they cannot take the room of those who do.
		of = &h.openBodies
	}
	b, ok := of.idle.Get().(*buffer)
	if !ok {
		b = &buffer{of: of}
	}
	_, err := b.ReadFrom(&meter{http.MaxBytesReader(c.ResponseWriter, c.request.Body, op.maxBody), b})
	if err == nil {
		return b, nil
	}
	b.free()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		c.drain()
	}
	return nil, bodyError(err, op.maxBody)
}

// drain takes the rest of a body, unless the client waits to be asked for it.
func (c *call) drain() {
	if c.request.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, c.request.Body, maxDrained)
	}
}

// bodyError says why a body was not read.
func bodyError(err error, most int64) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(most)
	}
	if errors.Is(err, errBodies) {
		return &posthorn.Error{
			Kind: posthorn.Unavailable, RetryAfter: time.Second,
			Message: "too many large bodies are arriving at once; try again",
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		return newProblem(answerTimeout, "the body did not arrive in time; send it without pauses")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return posthorn.NewError(posthorn.Malformed, "the body ended before its stated length")
	}
	return &posthorn.Error{Kind: posthorn.Malformed, Message: "the body cannot be read", Err: err}
}

func tooLarge(limit int64) error {
	return posthorn.NewError(posthorn.TooLarge, "the body is larger than the limit of %d bytes", limit)
}

// checkMedia refuses what is not JSON in UTF-8. Simple types (text/plain, forms) are refused also because a foreign
// page could send them without asking.
func (c *call) checkMedia(op *operation) error {
	for _, encoding := range c.request.Header["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return newProblem(answerMedia, "compressed bodies are not accepted; send the body without Content-Encoding")
		}
	}
	if op.anyMedia {
		return nil
	}
	header := c.request.Header["Content-Type"]
	if len(header) == 1 && header[0] == jsonType {
		return nil
	}
	wanted := jsonType
	if op.mergePatch {
		wanted += " or " + mergePatchType
	}
	if len(header) == 1 {
		media, params, err := mime.ParseMediaType(header[0])
		charset := params["charset"]
		known := media == jsonType || op.mergePatch && media == mergePatchType
		if err == nil && known && (charset == "" || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return newProblem(answerMedia, "send the body as Content-Type: %s", wanted)
}
