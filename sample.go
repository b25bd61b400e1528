package posthorn

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// MaxSampledTenants bounds the tenants of one sample of the queue: those with the longest backlogs.
const MaxSampledTenants = 100

// QueuePoint is the backlog in one step of a time, each value at its largest.
type QueuePoint struct {
	At                 time.Time
	Pending, Due, Held int
	OldestDue          time.Duration
}

// QueueSample gathers the backlogs of tenants at one moment.
type QueueSample map[TenantID]QueuePoint

// Add counts a lane's backlog for its tenant.
func (q QueueSample) Add(tenant TenantID, lane QueuePoint) {
	p := q[tenant]
	p.Pending += lane.Pending
	p.Due += lane.Due
	p.Held += lane.Held
	p.OldestDue = max(p.OldestDue, lane.OldestDue)
	q[tenant] = p
}

// Rows are the tenants with the longest backlogs, at most MaxSampledTenants, and under the zero tenant all together, which
// is there even when nothing waits.
func (q QueueSample) Rows() QueueSample {
	rows := QueueSample{{}: {}}
	tenants := slices.SortedFunc(maps.Keys(q), func(a, b TenantID) int {
		return cmp.Or(cmp.Compare(q[b].Pending, q[a].Pending), slices.Compare(a.UUID[:], b.UUID[:]))
	})
	for i, t := range tenants {
		rows.Add(TenantID{}, q[t])
		if i < MaxSampledTenants {
			rows[t] = q[t]
		}
	}
	return rows
}
