// Package fault turns errors into answers: one table from error to status and
// code, and one place that writes the body. A handler returns its error; it
// never chooses a status for it.
package fault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"granary/auth"
	"granary/blob"
	"granary/cluster/task"
	"granary/digest"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/requestpath"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/refs"
	"granary/repo/upstream"
)

// The codes of error bodies.
const (
	BadRequest          = "BAD_REQUEST"
	Unauthorized        = "UNAUTHORIZED"
	Forbidden           = "FORBIDDEN"
	InsufficientStorage = "INSUFFICIENT_STORAGE"
	NotFound            = "NOT_FOUND"
	NotAllowed          = "NOT_ALLOWED"
	Conflict            = "CONFLICT"
	PreconditionFailed  = "PRECONDITION_FAILED"
	DataIntegrity       = "DATA_INTEGRITY_ERROR"
	Storage             = "STORAGE_ERROR"
	Internal            = "INTERNAL_ERROR"
	Upstream            = "UPSTREAM_ERROR"
	RateLimited         = "RATE_LIMITED"
	Unavailable         = "UNAVAILABLE"
)

// StatusClientGone is what the log says of a request whose client went away
// before it was answered. It is never sent.
const StatusClientGone = 499

// Fault is an error as a client hears of it.
type Fault struct {
	Status  int
	Code    string
	Message string
	// RetryAfter is set with 429 and 503.
	RetryAfter time.Duration
	// Header is added to the answer.
	Header http.Header
}

// Error makes a Fault an error, for what only a handler knows.
func (f *Fault) Error() string { return f.Message }

// ErrNotReady is returned while this node has lost touch with the cluster.
var ErrNotReady = errors.New("this node is not ready")

// table is read from the top: what is derived stands before its base. An entry
// with a text hides what the error says, which is for the log.
var table = []struct {
	err    error
	status int
	code   string
	text   string
}{
	{auth.ErrUnauthorized, 401, Unauthorized, ""},
	{auth.ErrForbidden, 403, Forbidden, ""},
	{auth.ErrLocked, 429, RateLimited, ""},
	{auth.ErrBusy, 503, Unavailable, ""},
	{auth.ErrNotFound, 404, NotFound, ""},
	{auth.ErrProviderDown, 502, Upstream, ""},
	{auth.ErrExists, 409, Conflict, ""},
	{auth.ErrInvalid, 400, BadRequest, ""},
	{auth.ErrSealed, 500, Internal, "stored secrets can't be opened"},

	{repo.ErrNotWritable, 503, Unavailable, ""},
	{config.ErrInvalid, 400, BadRequest, ""},
	{config.ErrNotFound, 404, NotFound, ""},
	{config.ErrExists, 409, Conflict, ""},
	{config.ErrInUse, 409, Conflict, ""},
	{config.ErrSealed, 500, Internal, "stored secrets can't be opened"},

	{repo.ErrForbidden, 403, Forbidden, ""},
	{repo.ErrQuota, 507, InsufficientStorage, ""},
	{requestpath.ErrInvalid, 400, BadRequest, ""},
	{requestpath.ErrTooLong, 414, BadRequest, ""},

	{formats.ErrNoSpace, 507, InsufficientStorage, "no space left; nothing was stored"},
	{blob.ErrNoSpace, 507, InsufficientStorage, "no space left; nothing was stored"},
	{kv.ErrNoSpace, 507, InsufficientStorage, "no space left; nothing was stored"},
	{formats.ErrTooLarge, 413, BadRequest, ""},
	{blob.ErrTooLarge, 413, BadRequest, "body too large"},
	{formats.ErrOffset, 416, BadRequest, ""},
	{formats.ErrRaced, 409, Conflict, ""},
	{formats.ErrPrecondition, 412, PreconditionFailed, ""},
	// rest-api.md §0 names "body cut off while uploading" here.
	{formats.ErrTruncated, 500, DataIntegrity, "the body ended early; nothing was stored"},
	{formats.ErrCorrupt, 500, DataIntegrity, "stored content is missing or damaged"},
	{formats.ErrUpstreamTimeout, 504, Upstream, ""},
	{formats.ErrUpstream, 502, Upstream, ""},
	{formats.ErrBlocked, 403, Forbidden, ""},
	{formats.ErrChecksum, 422, BadRequest, ""},
	{digest.ErrMismatch, 422, BadRequest, ""},
	{digest.ErrInvalid, 400, BadRequest, ""},
	{formats.ErrNotAllowed, 405, NotAllowed, ""},
	{formats.ErrExists, 409, Conflict, ""},
	{formats.ErrBadRequest, 400, BadRequest, ""},
	{formats.ErrBusy, 503, Unavailable, ""},
	{formats.ErrNotFound, 404, NotFound, ""},

	{task.ErrNotFound, 404, NotFound, ""},
	{task.ErrUnknownKind, 404, NotFound, ""},
	{task.ErrRunning, 409, Conflict, ""},
	{task.ErrTooSoon, 409, Conflict, ""},

	{ErrNotReady, 503, Unavailable, ""},
	{kv.ErrThrottled, 429, RateLimited, "the store asks to slow down"},
	{kv.ErrUnknown, 503, Storage, "the store did not answer; the request may be repeated"},
	{refs.ErrGone, 503, Storage, "the upload took too long for its content to be kept; the request may be repeated"},
	{kv.ErrConflict, 503, Storage, "too many changes at once; the request may be repeated"},
	{kv.ErrTooLarge, 400, BadRequest, "metadata too large"},
	{kv.ErrInvalid, 400, BadRequest, "a name can't be stored"},
	{blob.ErrNotFound, 500, DataIntegrity, "stored content is missing or damaged"},
	{blob.ErrUnavailable, 503, Storage, "the blob store did not answer"},
	{io.ErrUnexpectedEOF, 500, DataIntegrity, "the body ended early; nothing was stored"},
	{context.DeadlineExceeded, 503, Unavailable, "the answer took too long"},
}

// Of tells what a client hears of an error.
func Of(err error) Fault {
	var own *Fault
	if errors.As(err, &own) {
		return complete(*own, err)
	}
	if f, ok := typed(err); ok {
		return complete(f, err)
	}
	for _, e := range table {
		if !errors.Is(err, e.err) {
			continue
		}
		f := Fault{Status: e.status, Code: e.code, Message: e.text}
		if f.Message == "" {
			f.Message = err.Error()
		}
		return complete(f, err)
	}
	return Fault{Status: 500, Code: Internal, Message: "internal error"}
}

// typed handles errors that carry more than their kind.
func typed(err error) (Fault, bool) {
	var field *config.FieldError
	if errors.As(err, &field) {
		if field.Shape {
			return Fault{Status: 422, Code: BadRequest, Message: field.Error()}, true
		}
		return Fault{Status: 400, Code: BadRequest, Message: field.Error()}, true
	}
	var locked *auth.LockedError
	if errors.As(err, &locked) {
		return Fault{Status: 429, Code: RateLimited, Message: locked.Error(), RetryAfter: locked.RetryAfter}, true
	}
	var credential *auth.CredentialError
	if errors.As(err, &credential) {
		return Fault{Status: 401, Code: Unauthorized, Message: credential.Reason}, true
	}
	var asked *upstream.Error
	if errors.As(err, &asked) && asked.Status == http.StatusTooManyRequests {
		return Fault{Status: 429, Code: RateLimited, Message: err.Error(), RetryAfter: asked.RetryAfter}, true
	}
	var policy *repo.PolicyError
	if errors.As(err, &policy) {
		f := Fault{Status: 403, Code: Forbidden, Message: policy.Error(), Header: http.Header{"X-Granary-Policy": {policy.Reason}}}
		if policy.Missing {
			f.Status, f.Code = 404, NotFound
		}
		return f, true
	}
	var outside *content.RangeError
	if errors.As(err, &outside) {
		return Fault{
			Status: 416, Code: BadRequest, Message: outside.Error(),
			Header: http.Header{"Content-Range": {"bytes */" + itoa(outside.Size)}},
		}, true
	}
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return Fault{Status: 413, Code: BadRequest, Message: "body too large: at most " + itoa(long.Limit) + " bytes are possible"}, true
	}
	return Fault{}, false
}

// complete adds how long to wait, from the error if it knows.
func complete(f Fault, err error) Fault {
	if f.Status != http.StatusTooManyRequests && f.Status != http.StatusServiceUnavailable {
		return f
	}
	var later interface{ RetryAfter() time.Duration }
	if f.RetryAfter == 0 && errors.As(err, &later) {
		f.RetryAfter = later.RetryAfter()
	}
	f.RetryAfter = max(f.RetryAfter, time.Second)
	return f
}
