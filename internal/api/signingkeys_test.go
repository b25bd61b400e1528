package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestRevokeAllSecrets leaves the newest secret alone and tells of the others by their ids, once.
func TestRevokeAllSecrets(t *testing.T) {
	s := open(t, func(o *Options) { o.Announcer = o.Publisher.(Announcer) })
	id := s.subscribe(s.admin, nil)
	path := "/subscriptions/" + id
	s.subscribe(s.admin, map[string]any{"event_types": []string{typeSecretRevoked}})
	for range 2 {
		s.call(http.MethodPost, path+"/secret/rotate", s.admin, `{}`).want(http.StatusOK)
	}
	ids := func(a answered) (ids []string) {
		for _, secret := range a.want(http.StatusOK).object()["data"].([]any) {
			ids = append(ids, secret.(map[string]any)["id"].(string))
		}
		return ids
	}
	before := ids(s.call(http.MethodGet, path+"/secrets", s.admin, nil))
	if len(before) != 3 {
		t.Fatalf("%d secrets sign after two rotations, want 3", len(before))
	}
	for range 2 { // the second time there is nothing left to revoke
		if left := ids(s.call(http.MethodPost, path+"/secrets/revoke", s.admin, nil)); !slices.Equal(left, before[:1]) {
			t.Errorf("%v sign, want %v", left, before[:1])
		}
	}
	var events list[event]
	s.call(http.MethodGet, "/events", s.admin, nil).want(http.StatusOK).into(&events)
	if len(events.Data) != 1 || events.Data[0].Type != typeSecretRevoked {
		t.Fatalf("announced %s, want one %s", jsonText(events.Data), typeSecretRevoked)
	}
	told := string(s.call(http.MethodGet, "/events/"+events.Data[0].ID.String(), s.admin, nil).want(http.StatusOK).body)
	for _, what := range append(slices.Clone(before[1:]), id) {
		if !strings.Contains(told, what) {
			t.Errorf("the event does not name %s: %s", what, told)
		}
	}
	if strings.Contains(told, before[0]) || strings.Contains(told, "whsec_") {
		t.Errorf("the event says too much: %s", told)
	}
}
