package config

import (
	"net"
	"strings"
)

// ListenAddress is the address of a port that r has of its own: "5000" and
// ":5000" are a port of all addresses, "10.0.0.1:5000" one of a single address.
// Any other Listen is a host name, which needs no listener: ok is false.
func (r *Repository) ListenAddress() (address string, ok bool) {
	host, port, err := net.SplitHostPort(r.Listen)
	switch {
	case err != nil && strings.Trim(r.Listen, "0123456789") == "" && r.Listen != "":
		return ":" + r.Listen, true
	case err != nil || port == "":
		return "", false
	case host == "" || net.ParseIP(host) != nil:
		return r.Listen, true
	}
	return "", false
}

// validateListen refuses what another repository listens on: one of them would
// not be found.
func (r *Repository) validateListen(k Known) error {
	if r.Listen == "" {
		return nil
	}
	for id, o := range k.Repositories {
		if id != r.ID && o.Listen != "" && r.listensLike(o) {
			return invalid("listen", "is that of repository %s", o.Name)
		}
	}
	return nil
}

func (r *Repository) listensLike(o *Repository) bool {
	a, ported := r.ListenAddress()
	b, also := o.ListenAddress()
	if !ported || !also {
		return ported == also && strings.EqualFold(r.Listen, o.Listen)
	}
	// Both have a port, or they were no addresses.
	hostA, portA, _ := net.SplitHostPort(a) //nolint:errcheck // as above
	hostB, portB, _ := net.SplitHostPort(b) //nolint:errcheck // as above
	return portA == portB && (all(hostA) || all(hostB) || net.ParseIP(hostA).Equal(net.ParseIP(hostB)))
}

// all tells whether a host stands for every address of the machine.
func all(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }
