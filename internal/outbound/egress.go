package outbound

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// rules say where calls may go.
type rules struct {
	allow, deny list
	proxy       func(*http.Request) (*url.URL, error)
	proxies     sync.Map // address of each proxy that was chosen: not checked itself
}

// list is one list of names and networks.
type list struct {
	names    []string // "example.com", or ".example.com" for what is under it
	networks []netip.Prefix
}

func newRules(allow, deny []string) (*rules, error) {
	var r rules
	var err error
	if r.allow, err = newList(allow); err == nil {
		r.deny, err = newList(deny)
	}
	return &r, err
}

func newList(entries []string) (list, error) {
	var l list
	for _, e := range entries {
		entry := strings.ToLower(strings.TrimSpace(e))
		if p, err := netip.ParsePrefix(entry); err == nil {
			l.networks = append(l.networks, p.Masked())
			continue
		}
		if a, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
			l.networks = append(l.networks, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(entry, "*"), ".")
		if name == "" || name == "." || strings.ContainsAny(name, "*/: ") {
			return l, fmt.Errorf("egress rule %q: want a host name (example.com, *.example.com), an address, or a network (10.0.0.0/8)", e)
		}
		l.names = append(l.names, name)
	}
	return l, nil
}

func (l *list) empty() bool { return len(l.names)+len(l.networks) == 0 }

func (l *list) hasName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, name := range l.names {
		if host == name || name[0] == '.' && strings.HasSuffix(host, name) {
			return true
		}
	}
	return false
}

func (l *list) hasAddress(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, n := range l.networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// checkRequest refuses what can be refused by the name of the host. The
// address is checked when it is dialled; behind a proxy nobody can.
func (r *rules) checkRequest(request *http.Request) error {
	if r.allow.empty() && r.deny.empty() {
		return nil
	}
	host := request.URL.Hostname()
	if r.deny.hasName(host) {
		return refused(host, "is denied")
	}
	proxy, err := r.proxy(request)
	if err == nil && proxy != nil {
		a, err := netip.ParseAddr(host)
		if err != nil {
			a = netip.Addr{}
		}
		return r.checkAddress(host, a)
	}
	return nil // an error of the proxy's choice is met again by the transport
}

// checkAddress checks an address that a host was resolved to; the zero address
// when only the name is known.
func (r *rules) checkAddress(host string, a netip.Addr) error {
	if a.IsValid() && r.deny.hasAddress(a) {
		return refused(host, "is denied")
	}
	if !r.allow.empty() && !r.allow.hasName(host) && (!a.IsValid() || !r.allow.hasAddress(a)) {
		return refused(host, "is not among those allowed")
	}
	return nil
}

func refused(host, why string) *event.Problem {
	return &event.Problem{
		Type:   event.TypePrefix + event.Forbidden,
		Status: 403,
		Title:  "Egress refused",
		Detail: fmt.Sprintf("the host %s %s by the egress rules of this Downbeat; who runs it can change them", host, why),
	}
}

// chooseProxy notes the addresses of proxies, which are not checked.
func (r *rules) chooseProxy(request *http.Request) (*url.URL, error) {
	proxy, err := r.proxy(request)
	if proxy != nil {
		port := proxy.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
		}
		r.proxies.Store(net.JoinHostPort(proxy.Hostname(), port), true)
	}
	return proxy, err
}

// dialer connects and checks each address that it is about to connect to, so
// that no name can stand for an address that is denied.
func (r *rules) dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if r.allow.empty() && r.deny.empty() {
			return plain.DialContext(ctx, network, address)
		}
		if _, ok := r.proxies.Load(address); ok {
			return plain.DialContext(ctx, network, address)
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		d := plain
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("dial %s: %w", resolved, err)
			}
			return r.checkAddress(host, a.Addr())
		}
		return d.DialContext(ctx, network, address)
	}
}
