package otlp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// defaultPort is that of OTLP over gRPC.
const defaultPort = "4317"

// Endpoint is where a collector listens.
type Endpoint struct {
	Address string // host:port
	TLS     bool
}

// ParseEndpoint reads http://host:port, which is gRPC without TLS,
// https://host:port and host:port, which are gRPC with TLS. The port is 4317
// where there is none.
func ParseEndpoint(s string) (Endpoint, error) {
	bad := func(format string, args ...any) (Endpoint, error) {
		return Endpoint{}, fmt.Errorf("%q "+format, append([]any{s}, args...)...)
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "https", s
	}
	scheme = strings.ToLower(scheme)
	if scheme != "http" && scheme != "https" {
		return bad("begins with %s://; http:// (gRPC without TLS), https:// and host:port (with TLS) are possible", scheme)
	}
	u, err := url.Parse(scheme + "://" + rest)
	switch {
	case err != nil || u.Hostname() == "":
		return bad("is no http://host:port, https://host:port or host:port")
	case u.User != nil:
		// Which may be a password, and is not repeated.
		return Endpoint{}, errors.New("there is user info in it; credentials for a collector go into OTEL_EXPORTER_OTLP_HEADERS")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("has more than host and port; OTLP over gRPC has no paths")
	}
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return bad("has an empty port")
		}
		port = defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bad("has no port between 1 and 65535")
	}
	if !isHost(u.Hostname()) {
		return bad("has a host that is no name and no address")
	}
	return Endpoint{net.JoinHostPort(u.Hostname(), port), scheme == "https"}, nil
}

// isHost tells names and addresses from what only looks like one to package url.
func isHost(s string) bool {
	if strings.Contains(s, ":") {
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
