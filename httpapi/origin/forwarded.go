package origin

import (
	"net/http"
	"net/netip"
	"strings"
)

// said is what forwarding headers say of the client's URL, checked; "" where
// they say nothing usable.
type said struct {
	proto, host, port, prefix string
}

// forwarded reads the X-Forwarded- headers, and Forwarded (RFC 7239) for what
// they leave open. The first of several values is the one nearest the client.
func forwarded(h http.Header) said {
	s := said{
		proto:  scheme(first(h, "X-Forwarded-Proto")),
		host:   first(h, "X-Forwarded-Host"),
		port:   first(h, "X-Forwarded-Port"),
		prefix: strings.TrimRight(first(h, "X-Forwarded-Prefix"), "/"),
	}
	if f := h["Forwarded"]; len(f) > 0 {
		element, _, _ := strings.Cut(f[0], ",")
		s.proto = pick(s.proto, scheme(parameter(element, "proto")))
		s.host = pick(s.host, parameter(element, "host"))
	}
	if !validHost(s.host) {
		s.host = ""
	}
	if len(s.port) > 5 || strings.Trim(s.port, "0123456789") != "" {
		s.port = ""
	}
	if !validPrefix(s.prefix) {
		s.prefix = ""
	}
	return s
}

func first(h http.Header, key string) string {
	v := h[key]
	if len(v) == 0 {
		return ""
	}
	s, _, _ := strings.Cut(v[0], ",")
	return strings.TrimSpace(s)
}

func scheme(s string) string {
	switch {
	case strings.EqualFold(s, "http"):
		return "http"
	case strings.EqualFold(s, "https"):
		return "https"
	}
	return ""
}

// validPrefix accepts "" and plain absolute paths. A second slash at the
// beginning would make what follows a host.
func validPrefix(p string) bool {
	if p == "" {
		return true
	}
	if p[0] != '/' || len(p) > 255 || strings.Contains(p, "//") || strings.Contains(p, "..") {
		return false
	}
	for i := range len(p) {
		c := p[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/-._~", c) >= 0) {
			return false
		}
	}
	return true
}

// forwardedFor returns the addresses that proxies wrote down, the client's
// first.
func forwardedFor(h http.Header) []string {
	var hops []string
	if v := h["X-Forwarded-For"]; len(v) > 0 {
		for _, line := range v {
			hops = append(hops, strings.Split(line, ",")...)
		}
		return hops
	}
	for _, line := range h["Forwarded"] {
		for element := range strings.SplitSeq(line, ",") {
			hops = append(hops, parameter(element, "for"))
		}
	}
	return hops
}

// parseHop reads an address with or without port and brackets.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// parameter returns the value of one parameter of a Forwarded element.
func parameter(element, name string) string {
	for p := range strings.SplitSeq(element, ";") {
		k, v, ok := strings.Cut(strings.TrimSpace(p), "=")
		if ok && strings.EqualFold(k, name) {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}
