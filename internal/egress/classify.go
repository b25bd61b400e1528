package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/posthorn/posthorn"
)

// The words of results: a code for machines and a sentence for the tenant. Sentences never quote an error, since those
// hold addresses.

var errStatus = errors.New("status code below 100")

// refused is the result of a request that the policy did not let out.
func refused(err error) Result {
	r := Result{Outcome: posthorn.Blocked, OurFault: true, Code: "blocked", Err: err}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		r.Code, r.Detail = refusal.Code, "The request was not sent: the URL "+refusal.Message+"."
	}
	return r
}

// expired is the result of a request whose identity is not valid now: the receiver would refuse it, or could not be
// verified, so nothing is sent.
func expired(part string) Result {
	if part == "certificate" {
		return Result{
			Outcome: posthorn.TLSError, Code: "client_certificate_expired",
			Detail: "The request was not sent: the client certificate has expired or is not valid yet; replace tls.certificate and tls.key.",
		}
	}
	return Result{
		Outcome: posthorn.TLSError, Code: "ca_expired",
		Detail: "The request was not sent: the authority in tls.ca has expired or is not valid yet; replace it.",
	}
}

// alertOf is the text of the TLS alert by which the other side refused, or "". The type of such errors is not exported.
func alertOf(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && op.Err != nil {
		return op.Err.Error()
	}
	return ""
}

// The alerts that are about a client's certificate (RFC 8446, section 6.2), with what they mean when one was shown.
var certificateAlerts = map[tls.AlertError]string{
	42:  "The receiver refused the client certificate.",
	43:  "The receiver refused the client certificate: it does not support its kind.",
	44:  "The receiver refused the client certificate: it says that it is revoked.",
	45:  "The receiver refused the client certificate: it says that it has expired.",
	46:  "The receiver refused the client certificate.",
	48:  "The receiver refused the client certificate: it does not know the authority that signed it; the chain may be incomplete.",
	49:  "The receiver refused the client certificate: it does not give it access.",
	116: "The receiver asked for a client certificate and did not accept the one it got.",
}

// alerted explains a receiver's refusal. In TLS 1.3 a client's certificate is refused only when the handshake is over for
// the client, so the alert comes in the place of an answer.
func alerted(r *Result, alert string, shown, asked bool) {
	r.set(posthorn.TLSError, "tls_alert", "The receiver refused the TLS handshake with an alert.")
	if asked && !shown {
		r.set(posthorn.TLSError, "client_certificate_required", "The receiver asks for a client certificate; set tls.certificate and tls.key.")
		return
	}
	for code, detail := range certificateAlerts {
		if shown && alert == code.Error() {
			r.set(posthorn.TLSError, "client_certificate_refused", detail)
		}
	}
}

func httpError(r *Result) {
	r.Outcome, r.Code = posthorn.HTTPError, "http_status"
	r.Detail = fmt.Sprintf("The receiver answered with status %d.", r.StatusCode)
	if r.StatusCode >= 300 && r.StatusCode <= 399 {
		r.Detail = fmt.Sprintf("The receiver answered with status %d; redirects are not followed.", r.StatusCode)
	}
}

// classify says what an error means, given how far the attempt had come. A deadline is looked for first, because it makes
// everything else fail as well.
func classify(r *Result, err error, at progress, interrupted, expired bool, timeout time.Duration) {
	refusal, isRefusal := errors.AsType[*Refusal](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isRefusal:
		*r = refused(refusal)
		r.Err = err
	case interrupted:
		r.set(posthorn.Interrupted, "interrupted", "The node stopped while the request was under way.")
		r.OurFault = true
	case isAny(err, errRefused):
		r.set(posthorn.ConnectError, "request_refused", "The receiver took connections, but turned the request away each time before it had read it.")
	case isDNS:
		nameFailed(r, dns)
	case expired || isTimeout(err):
		expire(r, at.phase, timeout)
	case at.tlsErr != nil:
		handshakeFailed(r, at.tlsErr)
	case at.phase == connecting:
		connectFailed(r, err)
	case at.phase == waiting:
		// Refused before a connection was wanted.
		r.set(posthorn.Blocked, "request_invalid", "The request was not sent: a header has an invalid name or value.")
		r.OurFault = true
	default:
		answerFailed(r, err, at.phase)
	}
}

func (r *Result) set(o posthorn.Outcome, code, detail string) {
	r.Outcome, r.Code, r.Detail = o, code, detail
}

// nameFailed tells a name that does not exist, the receiver's fault, from a resolver that failed, ours.
func nameFailed(r *Result, err *net.DNSError) {
	switch {
	case err.IsNotFound:
		r.set(posthorn.DNSError, "dns_not_found", "The host name does not exist or has no address.")
	case err.IsTimeout:
		r.set(posthorn.DNSError, "dns_timeout", fmt.Sprintf("The host name could not be resolved within %v.", dnsTimeout))
	default:
		r.set(posthorn.DNSError, "dns_failed", "The host name could not be resolved: the resolver failed.")
	}
	r.OurFault = !err.IsNotFound
}

func expire(r *Result, at phase, timeout time.Duration) {
	within := fmt.Sprintf("within %v", timeout)
	switch {
	case at == resolving:
		r.set(posthorn.DNSError, "dns_timeout", "The host name could not be resolved "+within+".")
		r.OurFault = true
	case at == shaking:
		r.set(posthorn.Timeout, "tls_timeout", "The receiver did not complete the TLS handshake "+within+".")
	case at < sending:
		r.set(posthorn.Timeout, "connect_timeout", "The receiver did not accept a connection "+within+".")
	case r.StatusCode != 0:
		r.set(posthorn.Timeout, "body_timeout", "The receiver began to answer, but did not finish "+within+".")
	default:
		r.set(posthorn.Timeout, "response_timeout", "The receiver did not answer "+within+".")
	}
}

func connectFailed(r *Result, err error) {
	proxy, isProxy := errors.AsType[*proxyError](err)
	switch {
	case isProxy && proxy.receiver:
		r.set(posthorn.ConnectError, "unreachable", "The egress proxy could not connect to the receiver.")
	case isProxy:
		r.set(posthorn.ConnectError, "proxy_failed", "The egress proxy made no connection.")
		r.OurFault = true
	case isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM):
		r.set(posthorn.ConnectError, "connect_local", "The node could not open another connection.")
		r.OurFault = true
	case isAny(err, syscall.ECONNREFUSED):
		r.set(posthorn.ConnectError, "connection_refused", "The receiver refused the connection: nothing listens on that port.")
	case isAny(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH):
		r.set(posthorn.ConnectError, "unreachable", "There is no route to the receiver.")
	case isAny(err, syscall.ECONNRESET, io.EOF):
		r.set(posthorn.ConnectError, "connection_reset", "The receiver reset the connection while it was made.")
	default:
		r.set(posthorn.ConnectError, "connect_failed", "No connection to the receiver could be made.")
	}
}

func handshakeFailed(r *Result, err error) {
	code, detail := "tls_handshake", "The TLS handshake failed."
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		code, detail = "tls_certificate_invalid", "The receiver's certificate is not valid for this use."
		if invalid.Reason == x509.Expired {
			code, detail = "tls_certificate_expired", "The receiver's certificate has expired or is not valid yet."
		}
	} else if _, ok := errors.AsType[x509.HostnameError](err); ok {
		code, detail = "tls_certificate_name", "The receiver's certificate is for another host name."
	} else if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		code, detail = "tls_certificate_untrusted", "The receiver's certificate is not signed by a known authority; the chain may be incomplete."
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		code, detail = "tls_certificate_invalid", "The receiver's certificate could not be verified."
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		code, detail = "tls_not_spoken", "The receiver does not speak TLS on that port."
	} else if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		code, detail = "tls_alert", "The receiver refused the TLS handshake with an alert."
	} else if isLost(err) {
		code, detail = "tls_closed", "The receiver closed the connection during the TLS handshake."
	}
	r.set(posthorn.TLSError, code, detail)
}

// answerFailed is for what came back, or did not, once the request had a connection.
func answerFailed(r *Result, err error, at phase) {
	switch {
	case isAny(err, syscall.ECONNRESET, syscall.EPIPE):
		r.set(posthorn.ConnectError, "connection_reset", "The receiver reset the connection before it had answered in full.")
	case at == sending && isLost(err):
		r.set(posthorn.ConnectError, "connection_closed", "The receiver closed the connection without an answer.")
	case r.StatusCode != 0:
		r.set(posthorn.InvalidResponse, "body_truncated", "The answer's body ended too early or was not framed as HTTP says.")
	case isTooLarge(err):
		r.set(posthorn.InvalidResponse, "headers_too_large", fmt.Sprintf("The answer's headers are larger than %d KiB.", MaxHeaderBytes>>10))
	case isAny(err, errStray):
		r.set(posthorn.InvalidResponse, "unsolicited_response", "The receiver sent an answer before the request.")
	default:
		r.set(posthorn.InvalidResponse, "malformed_response", "The answer is not valid HTTP.")
	}
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	if isAny(err, context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ETIMEDOUT) {
		return true
	}
	// A dialler's own deadline, for one address of several, is a net.Error only.
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// isLost reports that the other side, or the transport on its behalf, closed the connection. The transport has no
// exported errors for this.
func isLost(err error) bool {
	return isAny(err, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE) ||
		hasText(err, "server closed idle connection", "client connection lost", "could not be established", "GOAWAY", "readLoopPeekFailLocked")
}

// isTooLarge recognises the limit of headers in HTTP/1.1 and HTTP/2, for which there are no exported errors either.
func isTooLarge(err error) bool {
	return hasText(err, "response headers exceeded", "response header list larger", "header list too long")
}

func hasText(err error, texts ...string) bool {
	for _, text := range texts {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
