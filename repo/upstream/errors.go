package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"granary/formats"
)

var (
	// ErrAddress is returned when a name leads to addresses only that the
	// guard refuses. It is a formats.ErrUpstream.
	ErrAddress = errors.New("address not allowed")
	// ErrOpen is returned without asking when a host has failed too often, or
	// has said when to come back. It is a formats.ErrUpstream.
	ErrOpen = errors.New("upstream is left alone for now")

	// errSlow is why a context of ours ends.
	errSlow = errors.New("no answer in time")
)

// Error is what came of a request that brought no answer to use. It is one of
// formats.ErrNotFound, ErrUpstream and ErrUpstreamTimeout.
type Error struct {
	// URL of the hop that failed, without user info and query, which may hold
	// secrets.
	URL string
	// Status is the upstream's, 0 if there was no answer.
	Status int
	// RetryAfter is how long the host is not asked again; 0: at once.
	RetryAfter time.Duration
	// Err says what was wrong.
	Err error

	kind error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%v: %s: ", e.kind, e.URL)
	if e.Status != 0 {
		text += fmt.Sprintf("status %d: ", e.Status)
	}
	return text + e.Err.Error()
}

// Unwrap makes both the kind and the cause found by errors.Is.
func (e *Error) Unwrap() []error { return []error{e.kind, e.Err} }

// failure is an Error about an exchange that brought no answer.
func failure(u *url.URL, err error) *Error {
	e := &Error{URL: show(u), Err: err, kind: formats.ErrUpstream}
	if timedOut(err) {
		e.kind = formats.ErrUpstreamTimeout
	}
	return e
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, errSlow) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// show returns a URL as it may be logged.
func show(u *url.URL) string {
	shown := *u
	shown.User, shown.RawQuery, shown.ForceQuery, shown.Fragment = nil, "", false, ""
	return shown.String()
}
