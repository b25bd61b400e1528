package move

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/postgres"
)

// rule is what a table needs beyond its columns' names: where the two schemas keep the same thing differently.
type rule struct {
	// of is the source's table where it has another name; from is where the rows come from instead of that table, as t.
	of, from string
	// as are columns that are computed in the source, by their name in the target.
	as map[string]string
	// gone are columns of the source whose content the computed ones hold, or which only the embedded store needs. They are
	// listed where the source's table has its own name.
	gone []string
	// convert are columns that need more than their type says.
	convert map[string]func(any) (any, error)
}

// ofProcesses are tables about what is under way: nothing of theirs outlives a move. What tallies count is in a source's rollups.
var ofProcesses = []string{"nodes", "leases", "births", "tallies"}

// rules by the target's table. A column that both schemas have under one name needs none.
var rules = map[string]rule{
	"subscription_versions": {of: "tenants", as: map[string]string{"tenant_id": "t.id"}},
	"lanes": {
		as: map[string]string{
			"next_sequence": `t.sequence + 1`, "deleted": `t.phase = 2`,
			"status": `(SELECT s.status FROM subscriptions AS s WHERE s.id = t.subscription_id)`,
			"budget": `(SELECT s.policy FROM subscriptions AS s WHERE s.id = t.subscription_id)`,
		},
		gone:    []string{"sequence", "phase"},
		convert: map[string]func(any) (any, error){"budget": budget},
	},
	"idempotency_keys": {as: map[string]string{"hash": "t.content"}, gone: []string{"content", "deliveries"}},
	"deliveries": {as: map[string]string{
		"state":         `CASE t.state WHEN 0 THEN 'pending' WHEN 1 THEN 'succeeded' WHEN 2 THEN 'exhausted' WHEN 3 THEN 'cancelled' END`,
		"payload_bytes": `coalesce((SELECT length(e.payload) FROM events AS e WHERE e.tenant_id = t.tenant_id AND e.id = t.event_id), 0)`,
		"queued":        `t.state = 0`,
	}},
	"attempts": {
		from: `attempts AS t LEFT JOIN deliveries AS d ON d.id = t.delivery_id`,
		as: map[string]string{
			"tenant_id": "d.tenant_id", "event_id": "d.event_id", "subscription_id": "d.subscription_id",
			"dns_us": "t.dns", "connect_us": "t.connect", "tls_us": "t.tls", "first_byte_us": "t.first_byte", "total_us": "t.total",
		},
		gone: []string{"moment", "dns", "connect", "tls", "first_byte", "total"},
	},
	"rollups": {
		// What was accepted and what was delivered are rows apart there.
		from: `(SELECT r.*, 0 AS part FROM rollups AS r WHERE r.accepted > 0
			UNION ALL SELECT r.*, 1 AS part FROM rollups AS r WHERE r.attempts + r.exhausted > 0) AS t`,
		as: map[string]string{
			"part": "t.part", "accepted": "iif(t.part = 0, t.accepted, 0)", "attempts": "iif(t.part = 1, t.attempts, 0)",
			"succeeded": "iif(t.part = 1, t.succeeded, 0)", "failed": "iif(t.part = 1, t.failed, 0)",
			"retried": "iif(t.part = 1, t.retried, 0)", "exhausted": "iif(t.part = 1, t.exhausted, 0)",
			"latency":  "iif(t.part = 1, json_array(" + numbered("t.latency_") + "), '')",
			"duration": "iif(t.part = 1, json_array(" + numbered("t.duration_") + "), '')",
		},
		gone: append(strings.Split(numbered("latency_"), ", "), strings.Split(numbered("duration_"), ", ")...),
	},
}

// numbered lists the columns of a histogram.
func numbered(prefix string) string {
	names := make([]string, posthorn.LatencyBuckets)
	for i := range names {
		names[i] = prefix + fmt.Sprint(i)
	}
	return strings.Join(names, ", ")
}

// budget is how many attempts a subscription's policy has.
func budget(policy any) (any, error) {
	var p posthorn.Policy
	text, _ := policy.(string)
	err := json.Unmarshal([]byte(text), &p)
	return int64(p.Retry.Budget()), err
}

// table is one table to be filled: the query over the source, and the target's columns that it gives, in its order.
type table struct {
	name    string
	query   string
	columns []postgres.Column
	convert map[string]func(any) (any, error)
}

// plan says how each table is filled. It fails where the schemas have something that no rule knows: a column or a table
// that would be left behind, or one that would stay empty and must not.
func plan(source map[string][]string, target map[string][]postgres.Column) ([]table, error) {
	var tables []table
	var faults []string
	placed := map[string]bool{} // "table.column" of the source
	for _, name := range slices.Sorted(maps.Keys(target)) {
		if slices.Contains(ofProcesses, name) {
			continue
		}
		r := rules[name]
		of := cmp.Or(r.of, name)
		t := table{name: name, convert: r.convert}
		var list []string
		for _, c := range target[name] {
			expression := r.as[c.Name]
			if expression == "" && slices.Contains(source[of], c.Name) {
				expression = `t."` + c.Name + `"`
				placed[of+"."+c.Name] = true
			}
			if expression != "" {
				list = append(list, expression+` AS "`+c.Name+`"`)
				t.columns = append(t.columns, c)
			} else if !c.Optional || source[of] == nil {
				faults = append(faults, fmt.Sprintf("nothing is known to fill %s.%s", name, c.Name))
			}
		}
		t.query = `SELECT ` + strings.Join(list, ", ") + ` FROM ` + cmp.Or(r.from, `"`+of+`" AS t`)
		tables = append(tables, t)
	}
	for _, name := range slices.Sorted(maps.Keys(source)) {
		for _, column := range source[name] {
			known := placed[name+"."+column] || slices.Contains(rules[name].gone, column) || rules[name].as[column] != "" || slices.Contains(ofProcesses, name)
			if !known {
				faults = append(faults, fmt.Sprintf("%s.%s has no place", name, column))
			}
		}
	}
	if faults != nil {
		return nil, fmt.Errorf("this version does not know how to move everything: %s", strings.Join(faults, "; "))
	}
	return tables, nil
}
