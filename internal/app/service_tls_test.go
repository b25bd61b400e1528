package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn"
	. "github.com/posthorn/posthorn/internal/hooktest"
)

// attemptsOf waits for the deliveries of an event to end, and gives the attempts of each subscription as the API tells them.
func (s *service) attemptsOf(event string) map[string][]attemptOf {
	s.t.Helper()
	var status struct {
		Status     posthorn.EventStatus
		Deliveries []struct {
			ID             string
			SubscriptionID string `json:"subscription_id"`
		}
	}
	for end := time.Now().Add(10 * time.Second); status.Status == "" || status.Status == posthorn.EventPending; {
		if time.Now().After(end) {
			s.t.Fatalf("still %+v", status)
		}
		<-time.After(20 * time.Millisecond)
		s.ask(http.MethodGet, "/events/"+event+"/status", nil, http.StatusOK, &status)
	}
	all := map[string][]attemptOf{}
	for _, d := range status.Deliveries {
		var list struct{ Data []attemptOf }
		s.ask(http.MethodGet, "/deliveries/"+d.ID+"/attempts", nil, http.StatusOK, &list)
		all[d.SubscriptionID] = list.Data
	}
	return all
}

type attemptOf struct {
	Outcome  posthorn.Outcome
	Error    string
	OurFault bool `json:"our_fault"`
	Timings  struct{ Reused bool }
}

// TestForRealMutualTLS delivers to a receiver with a certificate of its own authority that asks for a client's: settings made
// through the API, real handshakes over real sockets.
func TestForRealMutualTLS(t *testing.T) {
	s := startService(t)
	private, clients, stranger := NewAuthority(t), NewAuthority(t), NewAuthority(t)
	r, url := ListenTLS(t, "shop", &tls.Config{
		Certificates: []tls.Certificate{private.Issue(t, "shop", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients.Roots().RootCAs,
	})
	certificate, key := clients.Identity(t)
	foreign, foreignKey := stranger.Identity(t)
	subscribe := func(settings map[string]any) string {
		return s.subscribe(r, url, map[string]any{"tls": settings, "retry": map[string]any{"schedule": []float64{}}})
	}
	wrong := map[string]string{
		subscribe(map[string]any{"ca": stranger.PEM(), "certificate": certificate, "key": key}):   "tls_certificate_untrusted",
		subscribe(map[string]any{"certificate": certificate, "key": key}):                         "tls_certificate_untrusted",
		subscribe(map[string]any{"ca": private.PEM()}):                                            "client_certificate_required",
		subscribe(map[string]any{"ca": private.PEM(), "certificate": foreign, "key": foreignKey}): "client_certificate_refused",
	}
	good := subscribe(map[string]any{"ca": private.PEM(), "certificate": certificate, "key": key})
	for round := range 3 {
		attempts := s.attemptsOf(s.publish("order.created", map[string]int{"n": round}))
		for id, code := range wrong {
			if a := attempts[id]; len(a) != 1 || a[0].Outcome != posthorn.TLSError || a[0].Error != code || a[0].OurFault {
				t.Errorf("attempts %+v, want %s", a, code)
			}
		}
		if a := attempts[good]; len(a) != 1 || a[0].Outcome != posthorn.Succeeded || a[0].Timings.Reused != (round > 0) {
			t.Errorf("round %d: %+v", round, a)
		}
	}
	if r.Count() != 3 {
		t.Errorf("%d requests arrived, want those of the right settings alone: 3", r.Count())
	}
	for _, q := range r.Requests() {
		if q.Signature != nil {
			t.Error(q.Signature)
		}
	}
}
