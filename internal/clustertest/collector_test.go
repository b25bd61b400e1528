package clustertest_test

import (
	"bufio"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/posthorn/posthorn/internal/clustertest"
)

// collectorMark makes the test's own program a collector: a process apart, as an operator has one.
const collectorMark = "CLUSTERTEST_COLLECTOR"

// span is one as the collector got it.
type span struct {
	Trace, ID, Parent, Name string
	Failed                  bool
	// Attributes are the span's own, Resource those of the process that sent it.
	Attributes, Resource map[string]string
	TraceState           string
}

// collect serves OTLP over HTTP and prints where, then each span as a line of JSON.
func collect() int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("http://%s\n", listener.Addr())
	var printing sync.Mutex
	http.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		spans, err := readSpans(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		printing.Lock()
		defer printing.Unlock()
		for _, s := range spans {
			line, _ := json.Marshal(s)
			fmt.Println(string(line))
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		answer, _ := proto.Marshal(&collectortrace.ExportTraceServiceResponse{})
		_, _ = w.Write(answer)
	})
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
	return 1
}

func readSpans(r *http.Request) ([]span, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unzipped
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var sent collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(text, &sent); err != nil {
		return nil, err
	}
	var spans []span
	for _, rs := range sent.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				spans = append(spans, span{
					Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Name: s.Name, Failed: s.Status.GetCode() == 2, TraceState: s.TraceState,
					Attributes: texts(s.Attributes), Resource: texts(rs.Resource.GetAttributes()),
				})
			}
		}
	}
	return spans, nil
}

// texts are attributes as text, whatever their type.
func texts(list []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range list {
		switch v := a.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			all[a.Key] = fmt.Sprint(v.BoolValue)
		case *common.AnyValue_DoubleValue:
			all[a.Key] = fmt.Sprint(v.DoubleValue)
		}
	}
	return all
}

// collector is the running process and what it printed.
type collector struct {
	*clustertest.Process
	url string

	mu    sync.Mutex
	spans []span
}

func startCollector(t testing.TB) *collector {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{collectorMark + "=1"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{Process: clustertest.Start(t, "collector", cmd)}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatalf("the collector did not start:\n%s", c.LastLines(5))
	}
	c.url = strings.TrimSpace(lines.Text())
	go func() {
		for lines.Scan() {
			var s span
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				c.mu.Lock()
				c.spans = append(c.spans, s)
				c.mu.Unlock()
			}
		}
	}()
	return c
}

// of are the spans of a trace whose names begin so.
func (c *collector) of(trace, name string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []span
	for _, s := range c.spans {
		if s.Trace == trace && strings.HasPrefix(s.Name, name) {
			found = append(found, s)
		}
	}
	return found
}
