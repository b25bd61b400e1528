package api

import (
	"net/http"
	"testing"

	"github.com/posthorn/posthorn"
)

func TestErasePayload(t *testing.T) {
	s := open(t, nil)
	s.subscribe(s.admin, nil)
	event := s.publish(s.admin, "a.b")
	path := "/events/" + event + "/payload"
	s.call(http.MethodDelete, path, s.foreign, nil).want(http.StatusNotFound)
	var first, again erased
	s.call(http.MethodDelete, path, s.admin, nil).want(http.StatusOK).into(&first)
	s.call(http.MethodDelete, path, s.admin, nil).want(http.StatusOK).into(&again)
	if first.ID.String() != event || first.Cancelled != 1 || again.Cancelled != 0 || !again.PayloadErasedAt.Equal(first.PayloadErasedAt) {
		t.Errorf("erased %s, again %s", jsonText(first), jsonText(again))
	}
	read := s.call(http.MethodGet, "/events/"+event, s.admin, nil).want(http.StatusOK).object()
	if read["payload_erased_at"] == nil || read["payload"] != nil || read["payload_base64"] != nil || read["payload_bytes"] != 0.0 {
		t.Errorf("read: %s", jsonText(read))
	}
	d := s.deliveries(s.admin, event)[0]
	if d.Status != posthorn.Cancelled || *d.Reason != posthorn.ReasonPayloadErased {
		t.Errorf("delivery: %s", jsonText(d))
	}
	s.call(http.MethodPost, "/deliveries/"+d.ID.String()+"/retry", s.admin, nil).want(http.StatusConflict)
	s.call(http.MethodPost, "/events/"+event+"/replay", s.admin, "{}").want(http.StatusConflict)
	if s.work(nil) != 0 {
		t.Error("something is still sent")
	}
}
