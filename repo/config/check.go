package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds that keep a document well under the largest value of the key-value
// store, whatever is put into it.
const (
	maxText     = 2048 // bytes of a URL, path or the like
	maxPassword = 8192
	maxPattern  = 500
	maxList     = 100
	maxMembers  = 1000
	maxDays     = 36500 // a century
	maxSeconds  = 100 * 366 * 86400
)

var (
	repositoryName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	storeName      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	bucketName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)
	token          = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}$`)
	hostName       = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*\.?$`)
	headerToken    = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$")

	reserved = []string{
		"api", "v1", "v2", "repository", "service", "swagger-ui", "api-docs", "metrics", "login", "assets",
	}
	// knownFormats is every format that the REST surface speaks of, built in or not.
	knownFormats = []string{
		"raw", "docker", "pypi", "apt", "golang", "helm", "cargo", "yum", "npm",
		"maven", "nuget", "rubygems", "terraform", "alpine", "puppet", "conda", "composer", "generic",
	}
	corsMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}
)

// first returns the first of several verdicts.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ValidName returns a FieldError, of field, unless name can be a repository's.
func ValidName(field, name string) error {
	switch {
	case name == "":
		return invalid(field, "must not be empty")
	case !repositoryName.MatchString(name):
		return invalid(field, "must be 1 to 63 of a-z 0-9 . _ - and begin with a letter or digit")
	case slices.Contains(reserved, name):
		return invalid(field, "%s is reserved", name)
	}
	return nil
}

// text refuses what can't be stored or would garble a log or header.
func text(field, s string, most int) error {
	switch {
	case len(s) > most:
		return invalid(field, "has %d bytes, at most %d are allowed", len(s), most)
	case !utf8.ValidString(s):
		return invalid(field, "is not valid UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return invalid(field, "has control characters")
	}
	return nil
}

func between(field string, n, least, most int64) error {
	if n < least || n > most {
		return invalid(field, "must be %d to %d", least, most)
	}
	return nil
}

func optional(field string, n *int64, least, most int64) error {
	if n == nil {
		return nil
	}
	return between(field, *n, least, most)
}

// oneOf judges an enumeration; "" stands for its default.
func oneOf[T ~string](field string, v T, all ...T) error {
	if v == "" || slices.Contains(all, v) {
		return nil
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = string(a)
	}
	return misshapen(field, "must be one of %s", strings.Join(names, ", "))
}

func list(field string, values []string, judge func(string) error) error {
	if len(values) > maxList {
		return invalid(field, "has %d entries, at most %d are allowed", len(values), maxList)
	}
	for _, v := range values {
		if err := judge(v); err != nil {
			return err
		}
	}
	return nil
}

func patterns(field string, values []string) error {
	return list(field, values, func(p string) error {
		if err := text(field, p, maxPattern); err != nil {
			return err
		}
		if p == "" {
			return invalid(field, "has an empty pattern, which would match everything")
		}
		if _, err := regexp.Compile(p); err != nil {
			return invalid(field, "%v", err)
		}
		return nil
	})
}

func tokens(field string, values []string) error {
	return list(field, values, func(s string) error {
		if !token.MatchString(s) {
			return invalid(field, "%.64q is no name of one", s)
		}
		return nil
	})
}

// httpURL judges the URL of a server. Its message never repeats the URL, which
// may hold a password.
func httpURL(field, s string) error {
	if err := text(field, s, maxText); err != nil {
		return err
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return invalid(field, "is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid(field, "must begin with http:// or https://")
	case !validHost(u.Hostname()):
		return invalid(field, "has no valid host")
	case u.Port() != "" && !validPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return invalid(field, "has no valid port")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return invalid(field, "must not have a fragment")
	case u.User != nil:
		return invalid(field, "must not have a user or password in it")
	}
	return nil
}

func validHost(h string) bool {
	if ip, _, _ := strings.Cut(h, "%"); net.ParseIP(ip) != nil {
		return true
	}
	return len(h) <= 253 && hostName.MatchString(h)
}

func validPort(p string) bool {
	n, err := strconv.ParseUint(p, 10, 16)
	return err == nil && n > 0
}

// hostPort judges "host" or "host:port".
func hostPort(field, s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "1"
	}
	if !validHost(host) || !validPort(port) {
		return invalid(field, "%.64q is no host, nor host:port", s)
	}
	return nil
}
