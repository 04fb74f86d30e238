package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"granary/formats"
)

// target returns the URL that a request asks for.
func (r Request) target() (base, u *url.URL, err error) {
	if base, err = parseURL(r.Base); err != nil {
		return nil, nil, fmt.Errorf("upstream URL: %w", err)
	}
	switch {
	case r.Ref == "":
		return base, base, nil
	case strings.HasPrefix(r.Ref, "http://"), strings.HasPrefix(r.Ref, "https://"):
		u, err = parseURL(r.Ref)
	default:
		u, err = below(base, r.Ref)
	}
	return base, u, err
}

// below appends a path that is not escaped.
func below(base *url.URL, path string) (*url.URL, error) {
	path = strings.TrimLeft(path, "/")
	for segment := range strings.SplitSeq(path, "/") {
		if segment == ".." || segment == "." {
			return nil, formats.BadRequest("path %q leads out of the upstream", path)
		}
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, formats.BadRequest("control character in path %q", path)
	}
	u := *base
	escaped := strings.TrimRight(base.EscapedPath(), "/") + "/" + (&url.URL{Path: path}).EscapedPath()
	u.Path = strings.TrimRight(base.Path, "/") + "/" + path
	u.RawPath = escaped
	return &u, nil
}

// parseURL takes absolute http and https URLs and drops user info and fragment.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", formats.ErrUpstream, withoutURL(err))
	}
	return u, checkURL(u)
}

func checkURL(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%w: scheme %q is neither http nor https", formats.ErrUpstream, u.Scheme)
	}
	if u.Hostname() == "" || u.Opaque != "" {
		return fmt.Errorf("%w: URL without a host", formats.ErrUpstream)
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return nil
}

// withoutURL takes the URL, which may hold secrets, out of an error of url.Parse.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("malformed URL: %w", e.Err)
	}
	return err
}

// origin is scheme, host and port, RFC 6454.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return origin{u.Scheme, strings.ToLower(u.Hostname()), port}
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

func (o origin) String() string { return o.scheme + "://" + net.JoinHostPort(o.host, o.port) }

// trust tells who may see a request's credentials.
type trust struct {
	base   origin
	realms []string
}

// covers tells whether credentials may be sent to u. They never go where a
// listener hears more than on the way to the base: from https to http only if
// the operator wrote the scheme.
func (t trust) covers(u *url.URL) bool {
	o := originOf(u)
	if o == t.base {
		return true
	}
	for _, realm := range t.realms {
		if strings.Contains(realm, "://") {
			if r, err := parseURL(realm); err == nil && originOf(r) == o {
				return true
			}
			continue
		}
		if t.base.scheme == "https" && o.scheme != "https" {
			continue
		}
		host, port, err := net.SplitHostPort(realm)
		if err != nil {
			host, port = strings.Trim(realm, "[]"), ""
		}
		if strings.EqualFold(host, o.host) && (port == "" || port == o.port) {
			return true
		}
	}
	return false
}
