package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// class is what an address is to the guard.
type class uint8

const (
	public  class = iota
	private       // loopback, private and shared: fine as an upstream, not after a public one
	never
)

// special lists what is not public. The longest prefix that holds an address
// decides.
var special = []struct {
	prefix netip.Prefix
	class  class
}{
	{netip.MustParsePrefix("0.0.0.0/8"), never},          // unspecified, "this network"
	{netip.MustParsePrefix("10.0.0.0/8"), private},       // RFC 1918
	{netip.MustParsePrefix("100.64.0.0/10"), private},    // RFC 6598, shared
	{netip.MustParsePrefix("100.100.100.200/32"), never}, // Alibaba metadata
	{netip.MustParsePrefix("127.0.0.0/8"), private},      // loopback
	{netip.MustParsePrefix("168.63.129.16/32"), never},   // Azure host services
	{netip.MustParsePrefix("169.254.0.0/16"), never},     // link-local, metadata of most clouds
	{netip.MustParsePrefix("172.16.0.0/12"), private},    // RFC 1918
	{netip.MustParsePrefix("192.0.0.0/24"), private},     // IETF protocols
	{netip.MustParsePrefix("192.0.0.192/32"), never},     // Oracle metadata
	{netip.MustParsePrefix("192.168.0.0/16"), private},   // RFC 1918
	{netip.MustParsePrefix("198.18.0.0/15"), private},    // benchmarks
	{netip.MustParsePrefix("224.0.0.0/4"), never},        // multicast
	{netip.MustParsePrefix("240.0.0.0/4"), never},        // reserved, broadcast
	{netip.MustParsePrefix("::/128"), never},             // unspecified
	{netip.MustParsePrefix("::1/128"), private},          // loopback
	{netip.MustParsePrefix("64:ff9b:1::/48"), private},   // RFC 8215, local translation
	{netip.MustParsePrefix("fc00::/7"), private},         // RFC 4193
	{netip.MustParsePrefix("fd00:ec2::/32"), never},      // Amazon metadata and services
	{netip.MustParsePrefix("fd20:ce::/32"), never},       // Google metadata
	{netip.MustParsePrefix("fe80::/10"), never},          // link-local
	{netip.MustParsePrefix("fec0::/10"), private},        // RFC 3879, site-local
	{netip.MustParsePrefix("ff00::/8"), never},           // multicast
}

// embedding lists networks whose addresses carry an IPv4 address from a byte
// on, to which packets are sent on.
var embedding = []struct {
	prefix netip.Prefix
	at     int
	invert bool
}{
	{netip.MustParsePrefix("::/96"), 12, false},           // RFC 4291, compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, false}, // RFC 2765, translated
	{netip.MustParsePrefix("64:ff9b::/96"), 12, false},    // RFC 6052, NAT64
	{netip.MustParsePrefix("2002::/16"), 2, false},        // RFC 3056, 6to4
	{netip.MustParsePrefix("2001::/32"), 12, true},        // RFC 4380, Teredo
}

// classify judges an address, and the IPv4 address in it where there is one.
func classify(a netip.Addr) class {
	a = a.Unmap().WithZone("")
	best, bits := public, -1
	for _, s := range special {
		if s.prefix.Contains(a) && s.prefix.Bits() > bits {
			best, bits = s.class, s.prefix.Bits()
		}
	}
	for _, e := range embedding {
		if bits == 128 || !e.prefix.Contains(a) {
			continue
		}
		b := a.As16()
		v4 := [4]byte(b[e.at : e.at+4])
		for i := range v4 {
			if e.invert {
				v4[i] = ^v4[i]
			}
		}
		best = max(best, classify(netip.AddrFrom4(v4)))
	}
	return best
}

// guard decides which addresses may be dialled.
type guard struct {
	deny, allow []netip.Prefix
	resolve     func(ctx context.Context, host string) ([]netip.Addr, error)
	dial        func(ctx context.Context, network, address string) (net.Conn, error)
	timeout     time.Duration
}

// permits judges an address; afterPublic: a public one was met on the way. Of
// the operator's networks the narrowest that holds the address decides, deny
// before allow.
func (g *guard) permits(a netip.Addr, afterPublic bool) bool {
	a = a.Unmap().WithZone("")
	denied, allowed := narrowest(g.deny, a), narrowest(g.allow, a)
	if denied >= 0 || allowed >= 0 {
		return allowed > denied
	}
	c := classify(a)
	return c == public || c == private && !afterPublic
}

func narrowest(list []netip.Prefix, a netip.Addr) int {
	bits := -1
	for _, p := range list {
		if p.Contains(a) {
			bits = max(bits, p.Bits())
		}
	}
	return bits
}

// dialer returns a DialContext for a transport whose connections all obey the
// same rule, so that a kept one is as good as a new one.
func (g *guard) dialer(afterPublic bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		addrs, err := g.addresses(ctx, host)
		if err != nil {
			return nil, err
		}
		var good []netip.Addr
		for _, a := range addrs {
			if g.permits(a, afterPublic) {
				good = append(good, a.Unmap())
			}
		}
		if len(good) == 0 {
			return nil, refusal(host, afterPublic)
		}
		return g.dialFirst(ctx, network, good, port)
	}
}

func refusal(host string, afterPublic bool) error {
	if afterPublic {
		return fmt.Errorf("%w: %s, led to by a public address", ErrAddress, host)
	}
	return fmt.Errorf("%w: %s", ErrAddress, host)
}

func (g *guard) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := g.resolve(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	return addrs, err
}

// judged is a connection whose remote address is the one that the guard let
// pass, whatever lies in between.
type judged struct {
	net.Conn
	remote net.Addr
}

func (j judged) RemoteAddr() net.Addr { return j.remote }

// dialFirst dials one address after the other, each with its share of the time
// that is left, so that a dead one does not take all of it.
func (g *guard) dialFirst(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	var failed []error
	for i, a := range addrs {
		deadline, _ := ctx.Deadline()
		share := time.Until(deadline) / time.Duration(len(addrs)-i)
		one, cancel := context.WithTimeout(ctx, share)
		conn, err := g.dial(one, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return judged{conn, net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))}, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}
