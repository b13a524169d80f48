package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// explain says in plain words what went wrong with a connection, and where
// that helps, what to look at.
func explain(err error, u *url.URL) string {
	if why := explainTLS(err, u); why != "" {
		return why
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			return fmt.Sprintf("there is no host named %s", dns.Name)
		case dns.IsTimeout:
			return fmt.Sprintf("looking up the host %s timed out", dns.Name)
		}
		return fmt.Sprintf("the host %s could not be looked up: %s", dns.Name, dns.Err)
	}
	where := u.Host
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if op.Op == "proxyconnect" {
			return fmt.Sprintf("the proxy (HTTP_PROXY, HTTPS_PROXY) could not be reached: %v", op.Err)
		}
		if op.Addr != nil {
			where = op.Addr.String()
		}
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("connection refused by %s: nothing listens there", where)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server broke the connection"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Sprintf("there is no way to %s from this machine", where)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the server ended its response too early"
	case errors.Is(err, io.EOF):
		return "the server closed the connection without an answer"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "timed out while connecting"
	}
	text := err.Error()
	if ue, ok := errors.AsType[*url.Error](err); ok {
		text = ue.Err.Error() // without the URL, which may hold secrets
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "net/http: "), "http: ")
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func explainTLS(err error, u *url.URL) string {
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		names := append([]string{}, e.Certificate.DNSNames...)
		for _, ip := range e.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		return fmt.Sprintf("the server's certificate is not for %s but for %s", e.Host, strings.Join(names, ", "))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the server's certificate is signed by an authority that is not trusted here; add the authority's certificate to those that Downbeat trusts"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return fmt.Sprintf("the server's certificate is valid from %s to %s only", e.Cert.NotBefore.UTC().Format("2006-01-02"), e.Cert.NotAfter.UTC().Format("2006-01-02"))
		}
		return "the server's certificate is not valid: " + e.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return fmt.Sprintf("the server at %s does not speak TLS; is http: meant?", u.Host)
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return "the server refused the TLS connection: " + e.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return "the server refused the TLS connection: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}
