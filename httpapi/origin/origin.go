// Package origin tells under which URL a client reached the server, and which
// address the client has, where proxies may stand between the two.
//
// The two questions are judged apart. What a URL looks like harms only who
// asks, so forwarding headers of private peers are believed by default. Who a
// client is decides about lock-out and audit: no header is believed unless
// the peer is a configured proxy.
package origin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Policy answers both questions. The zero value believes loopback and private
// peers about URLs, and nobody about clients.
type Policy struct {
	external string
	proxies  []netip.Prefix
}

// New reads the configuration: external is "" or the URL that clients use,
// proxies are addresses or networks.
func New(external string, proxies []string) (*Policy, error) {
	p := &Policy{}
	if external != "" {
		u, err := url.Parse(external)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, fmt.Errorf("external_url: %q is not an http or https URL without query and user", external)
		}
		p.external = strings.TrimRight(u.String(), "/")
	}
	for _, s := range proxies {
		prefix, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %q is neither an address nor a network", s)
		}
		p.proxies = append(p.proxies, prefix)
	}
	return p, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Client returns the address of the client: the peer's, or where that is a
// configured proxy what it and the proxies before it say.
func (p *Policy) Client(r *http.Request) string {
	peer := Peer(r)
	if !p.proxy(peer) {
		if host, _, ok := strings.Cut(r.RemoteAddr, ":"); ok && peer.Is4() && host[0] != '[' {
			return host // what String would make anew
		}
		return peer.String()
	}
	hops := forwardedFor(r.Header)
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := parseHop(hops[i])
		if !ok {
			break // what stands before it was not written by a proxy of ours
		}
		peer = a
		if !p.proxy(a) {
			break
		}
	}
	return peer.String()
}

// Peer returns the address at the other end of the connection, the zero
// address where there is none.
func Peer(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

func (p *Policy) proxy(a netip.Addr) bool {
	for _, n := range p.proxies {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// believed tells whether the peer may say what the client's URL is.
func (p *Policy) believed(peer netip.Addr) bool {
	if len(p.proxies) > 0 {
		return p.proxy(peer)
	}
	return peer.IsLoopback() || peer.IsPrivate()
}

// Base returns the URL of the server as the client knows it, without a slash
// at its end.
func (p *Policy) Base(r *http.Request) string {
	if p.external != "" {
		return p.external
	}
	scheme, host, prefix := "http", r.Host, ""
	if r.TLS != nil {
		scheme = "https"
	}
	if p.believed(Peer(r)) {
		f := forwarded(r.Header)
		scheme = pick(f.proto, scheme)
		host = pick(f.host, host)
		prefix = f.prefix
		if f.port != "" {
			host = withPort(scheme, host, f.port)
		}
	}
	if !validHost(host) {
		host = localHost(r)
	}
	return scheme + "://" + host + prefix
}

func pick(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// withPort replaces the port of host, leaving the default one out.
func withPort(scheme, host, port string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else {
		host = strings.Trim(host, "[]")
	}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

// localHost is where the connection arrived, for clients that name no host.
func localHost(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return "localhost"
}

// validHost accepts what may stand in a URL, which also goes into documents.
func validHost(h string) bool {
	if h == "" || len(h) > 255 {
		return false
	}
	for i := range len(h) {
		c := h[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._:[]", c) >= 0) {
			return false
		}
	}
	return true
}
