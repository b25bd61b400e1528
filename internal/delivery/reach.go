package delivery

import (
	"sync"

	"github.com/posthorn/posthorn"
)

const (
	// unreachableHosts is how many hosts must be out of reach, with none reached between, for the fault to be ours.
	unreachableHosts = 3
	maxHosts         = 1024
)

// reach tells a dead receiver from a node without a network: it remembers the hosts that could not be reached since the
// last one that could.
type reach struct {
	mu   sync.Mutex
	lost map[string]struct{}
}

// connectTimeout is egress's code of a timeout before there was a connection: a network that drops everything looks so.
const connectTimeout = "connect_timeout"

// note takes an attempt's outcome and its code, and whether there was a connection at all, and reports whether that there was
// none is this node's own fault. A reset is a connect error too, of a host that was reached.
func (r *reach) note(host string, outcome posthorn.Outcome, code string, connected bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case connected:
		clear(r.lost)
	case outcome == posthorn.ConnectError, outcome == posthorn.Timeout && code == connectTimeout:
		if r.lost == nil {
			r.lost = make(map[string]struct{})
		}
		if len(r.lost) < maxHosts {
			r.lost[host] = struct{}{}
		}
		return len(r.lost) >= unreachableHosts
	}
	return false
}
