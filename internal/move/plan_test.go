package move

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/postgres"
)

// TestPlanKnowsWhatItDoesNotKnow: a table or a column that would be left behind stops the move before it begins.
func TestPlanKnowsWhatItDoesNotKnow(t *testing.T) {
	id := postgres.Column{Name: "id", Type: "uuid"}
	needed, optional := postgres.Column{Name: "more", Type: "text"}, postgres.Column{Name: "more", Type: "text", Optional: true}
	for name, c := range map[string]struct {
		source map[string][]string
		target map[string][]postgres.Column
		want   string
	}{
		"Same":           {map[string][]string{"a": {"id"}}, map[string][]postgres.Column{"a": {id}}, ""},
		"OptionalColumn": {map[string][]string{"a": {"id"}}, map[string][]postgres.Column{"a": {id, optional}}, ""},
		"NeededColumn":   {map[string][]string{"a": {"id"}}, map[string][]postgres.Column{"a": {id, needed}}, "nothing is known to fill a.more"},
		"ColumnLeft":     {map[string][]string{"a": {"id", "more"}}, map[string][]postgres.Column{"a": {id}}, "a.more has no place"},
		"TableLeft":      {map[string][]string{"a": {"id"}, "b": {"id"}}, map[string][]postgres.Column{"a": {id}}, "b.id has no place"},
		"TableEmpty":     {map[string][]string{"a": {"id"}}, map[string][]postgres.Column{"a": {id}, "b": {optional}}, "nothing is known to fill b.more"},
		"OfProcesses":    {map[string][]string{"a": {"id"}, "nodes": {"x"}}, map[string][]postgres.Column{"a": {id}, "leases": {needed}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tables, err := plan(c.source, c.target)
			if c.want == "" && (err != nil || len(tables) != 1) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("plan = %v, %v; want %q", tables, err, c.want)
			}
		})
	}
}
