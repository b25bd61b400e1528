package docs_test

import (
	"os/exec"
	"testing"

	"github.com/posthorn/posthorn/internal/client"
	"github.com/posthorn/posthorn/internal/client/clienttest"
)

// pythonProducer is what the sample in docs/moving.md finds around it: its program's own names, and of its HTTP client as much as
// it uses, so that the test needs no package of Python's.
const (
	pythonProducer = `
import os, httpx
posthorn_url, key = os.environ["POSTHORN_URL"], os.environ["POSTHORN_API_KEY"]
class order:
    id = 4711
    as_dict = staticmethod(lambda: {"id": 4711})
`
	pythonClient = `
import json as encoder, urllib.request
class Response:
    def raise_for_status(self): pass
def post(url, headers, json):
    data = encoder.dumps(json).encode()
    urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})).close()
    return Response()
`
)

// TestProducerSamplePublishes runs the Python of docs/moving.md twice: its idempotency key makes one event of both.
func TestProducerSamplePublishes(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("python3 is not installed: its sample was not run")
		return
	}
	n := binary.Start(t)
	dir := t.TempDir()
	put(t, dir, "httpx.py", pythonClient)
	put(t, dir, "sample.py", pythonProducer+sample(t, "docs/moving.md", "python"))
	for range 2 {
		cmd := exec.CommandContext(t.Context(), python, "sample.py")
		cmd.Dir = dir
		cmd.Env = clienttest.Environment(dir, "POSTHORN_URL="+n.URL, "POSTHORN_API_KEY="+clienttest.Key)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	c, err := client.New(client.Settings{URL: n.URL, Key: clienttest.Key})
	if err != nil {
		t.Fatal(err)
	}
	events, err := c.Events(t.Context(), nil, 0)
	if err != nil || len(events) != 1 || events[0].Type != "order.created" {
		t.Errorf("events %+v, %v; want one order.created", events, err)
	}
}
