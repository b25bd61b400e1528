package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/posthorn/posthorn"
	"github.com/posthorn/posthorn/internal/egress"
)

const (
	// slowName is a name resolution that eats into the 5 s an attempt gives it.
	slowName = time.Second
	// someDrift is a clock that is worth correcting; receivers refuse signatures from maxDrift on.
	someDrift = 30 * time.Second
	maxDrift  = 5 * time.Minute
)

// examineNetwork resolves a name, fetches a page the way deliveries leave, and compares clocks.
func examineNetwork(ctx context.Context, o Options) []Finding {
	u, err := egress.ParseURL(o.Reach)
	if err != nil || u.Hostname() == "" {
		return []Finding{fail("egress", "--reach is no URL", "give a URL like https://example.com/")}
	}
	all := []Finding{examineNames(ctx, u.Hostname())}
	if all[0].Level == Failure {
		return all
	}
	var proxy *egress.Proxy
	if o.Settings.EgressProxy != "" {
		if proxy, err = egress.ParseProxy(o.Settings.EgressProxy); err != nil {
			return append(all, fail("egress", "POSTHORN_EGRESS_PROXY "+err.Error(), "correct the variable"))
		}
	}
	client := egress.New(egress.Options{Policy: egress.NewPolicy(o.Settings.PrivateNetworks(), o.Settings.AllowHTTP), Proxy: proxy})
	defer client.Close()
	before := time.Now()
	r := client.Do(ctx, egress.Request{Method: http.MethodGet, URL: u, Header: http.Header{"User-Agent": {"Posthorn/doctor"}}, Timeout: lookTime / 2})
	if r.StatusCode == 0 {
		return append(all, fail("egress", fmt.Sprintf("%s cannot be reached: %s (%s)", u.Host, r.Detail, r.Outcome), egressFix(r)))
	}
	all = append(all, fine("egress", "%s answered %d in %d ms", u.Host, r.StatusCode, r.Timing.Total.Milliseconds()))
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return append(all, warn("clock", u.Host+" does not tell the time, so the clock was not compared", "--reach another host"))
	}
	// The date has whole seconds, and was written between the request and now.
	return append(all, examineClock("of "+u.Host, date.Add(500*time.Millisecond).Sub(before.Add(r.Timing.Total/2))))
}

func egressFix(r egress.Result) string {
	switch r.Outcome {
	case posthorn.Blocked:
		return "the egress policy refuses it: --reach a public https host, or allow it with POSTHORN_ALLOW_PRIVATE and POSTHORN_ALLOW_HTTP"
	case posthorn.DNSError:
		return "look at the resolver (/etc/resolv.conf), and at rules that block port 53"
	case posthorn.TLSError:
		return "look at the certificates of authorities (ca-certificates), and for a proxy that opens TLS"
	}
	return "allow outgoing connections to port 443, or name a proxy in POSTHORN_EGRESS_PROXY. --reach another host if this one is down"
}

func examineNames(ctx context.Context, host string) Finding {
	start := time.Now()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	took := time.Since(start)
	switch {
	case err != nil:
		return fail("names", host+" cannot be resolved",
			"look at the resolver (/etc/resolv.conf), and at rules that block port 53; --reach a host inside where there is no Internet")
	case took > slowName:
		return warn("names", fmt.Sprintf("%s took %s to resolve; an attempt gives it 5 s", host, took.Round(time.Millisecond)),
			"use a resolver nearby, or a caching one on this machine")
	}
	return fine("names", "%s has %d addresses, in %d ms", host, len(addrs), took.Milliseconds())
}

// examineClock judges how far another clock is ahead of this one.
func examineClock(of string, ahead time.Duration) Finding {
	off := ahead.Abs().Round(100 * time.Millisecond)
	direction := "behind"
	if ahead < 0 {
		direction = "ahead"
	}
	text := fmt.Sprintf("this machine is %s %s the clock %s", off, direction, of)
	const fix = "run an NTP client (timedatectl set-ntp true)"
	switch {
	case off >= maxDrift:
		return fail("clock", text+": receivers refuse its signatures", fix)
	case off >= someDrift:
		return warn("clock", text+"; receivers refuse signatures from 5 minutes on", fix)
	}
	return fine("clock", "within %s of the clock %s", max(off, time.Second), of)
}
