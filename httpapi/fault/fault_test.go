package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/auth"
	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/requestpath"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/upstream"
)

type busy struct{}

func (busy) Error() string             { return "try later" }
func (busy) Is(target error) bool      { return target == formats.ErrBusy }
func (busy) RetryAfter() time.Duration { return 1500 * time.Millisecond }

func TestTable(t *testing.T) {
	tests := []struct {
		err    error
		status int
		code   string
	}{
		{&auth.CredentialError{Method: auth.Basic, Reason: "wrong"}, 401, "UNAUTHORIZED"},
		{auth.ErrForbidden, 403, "FORBIDDEN"},
		{&auth.LockedError{RetryAfter: 7 * time.Second}, 429, "RATE_LIMITED"},
		{auth.ErrBusy, 503, "UNAVAILABLE"},
		{auth.ErrNotFound, 404, "NOT_FOUND"},
		{auth.ErrProviderDown, 502, "UPSTREAM_ERROR"},
		{auth.ErrExists, 409, "CONFLICT"},
		{&auth.FieldError{Field: "roles", Problem: "x"}, 400, "BAD_REQUEST"},
		{&config.FieldError{Field: "store", Message: "x"}, 400, "BAD_REQUEST"},
		{&config.FieldError{Field: "format", Message: "x", Shape: true}, 422, "BAD_REQUEST"},
		{config.ErrNotFound, 404, "NOT_FOUND"},
		{config.ErrExists, 409, "CONFLICT"},
		{config.ErrInUse, 409, "CONFLICT"},
		{repo.ErrForbidden, 403, "FORBIDDEN"},
		{repo.ErrQuota, 507, "INSUFFICIENT_STORAGE"},
		{requestpath.ErrInvalid, 400, "BAD_REQUEST"},
		{requestpath.ErrTooLong, 414, "BAD_REQUEST"},
		{formats.ErrNotFound, 404, "NOT_FOUND"},
		{formats.ErrExists, 409, "CONFLICT"},
		{formats.ErrBadRequest, 400, "BAD_REQUEST"},
		{formats.ErrBadPackage, 400, "BAD_REQUEST"},
		{formats.ErrChecksum, 422, "BAD_REQUEST"},
		{digest.ErrMismatch, 422, "BAD_REQUEST"},
		{formats.ErrTooLarge, 413, "BAD_REQUEST"},
		{formats.ErrPrecondition, 412, "PRECONDITION_FAILED"},
		{formats.ErrNotAllowed, 405, "NOT_ALLOWED"},
		{formats.ErrTruncated, 500, "DATA_INTEGRITY_ERROR"},
		{io.ErrUnexpectedEOF, 500, "DATA_INTEGRITY_ERROR"},
		{formats.ErrUpstream, 502, "UPSTREAM_ERROR"},
		{formats.ErrUpstreamTimeout, 504, "UPSTREAM_ERROR"},
		{formats.ErrBlocked, 403, "FORBIDDEN"},
		{formats.ErrBusy, 503, "UNAVAILABLE"},
		{formats.ErrNoSpace, 507, "INSUFFICIENT_STORAGE"},
		{formats.ErrCorrupt, 500, "DATA_INTEGRITY_ERROR"},
		{kv.ErrNoSpace, 507, "INSUFFICIENT_STORAGE"},
		{kv.ErrThrottled, 429, "RATE_LIMITED"},
		{kv.ErrUnknown, 503, "STORAGE_ERROR"},
		{kv.ErrTooLarge, 400, "BAD_REQUEST"},
		{blob.ErrNoSpace, 507, "INSUFFICIENT_STORAGE"},
		{blob.ErrUnavailable, 503, "STORAGE_ERROR"},
		{blob.ErrNotFound, 500, "DATA_INTEGRITY_ERROR"},
		{blob.ErrTooLarge, 413, "BAD_REQUEST"},
		{&content.RangeError{Size: 5}, 416, "BAD_REQUEST"},
		{&http.MaxBytesError{Limit: 5}, 413, "BAD_REQUEST"},
		{&upstream.Error{Status: 429, RetryAfter: 7 * time.Second, Err: errors.New("x")}, 429, "RATE_LIMITED"},
		{ErrNotReady, 503, "UNAVAILABLE"},
		{context.DeadlineExceeded, 503, "UNAVAILABLE"},
		{errors.New("anything else"), 500, "INTERNAL_ERROR"},
		{&Fault{Status: 415, Code: BadRequest}, 415, "BAD_REQUEST"},
	}
	for _, tt := range tests {
		f := Of(fmt.Errorf("do this to that: %w", tt.err))
		if f.Status != tt.status || f.Code != tt.code {
			t.Errorf("%v: %d %s, want %d %s", tt.err, f.Status, f.Code, tt.status, tt.code)
		}
		if later := f.Status == 429 || f.Status == 503; later != (f.RetryAfter >= time.Second) {
			t.Errorf("%v: status %d with Retry-After %v", tt.err, f.Status, f.RetryAfter)
		}
	}
}

func TestInsideIsNotTold(t *testing.T) {
	for _, err := range []error{errors.New("open /var/lib/secret"), fmt.Errorf("/var/lib: %w", blob.ErrUnavailable), fmt.Errorf("/var/lib: %w", kv.ErrNoSpace)} {
		if f := Of(err); strings.Contains(f.Message, "/var/lib") {
			t.Errorf("%v is told as %q", err, f.Message)
		}
	}
}

func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Etag", `"x"`)
	w.Header().Set("Content-Length", "77")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("X-Checksum-Blake3", "x")
	Of(busy{}).WriteJSON(w, httptest.NewRequest("GET", "/", nil))
	var b map[string]map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || len(b) != 1 || len(b["error"]) != 2 || b["error"]["code"] != "UNAVAILABLE" || b["error"]["message"] != "try later" {
		t.Errorf("body %s, %v", w.Body, err)
	}
	want := map[string]string{
		"Retry-After": "2", "Etag": "", "X-Checksum-Blake3": "", "Cache-Control": "no-store", "Content-Type": "application/json",
		"Content-Length": fmt.Sprint(w.Body.Len()),
	}
	for k, v := range want {
		if got := w.Header().Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
}

func TestChallenge(t *testing.T) {
	tests := []struct {
		header []string
		want   string
	}{
		{nil, `Basic realm="granary"`},
		{[]string{"Authorization", "Basic eDp5"}, `Basic realm="granary"`},
		{[]string{"Authorization", "Digest x"}, `Basic realm="granary"`},
		{[]string{"Authorization", "Bearer x"}, ""},
		{[]string{"Authorization", "bearer x"}, ""},
		{[]string{"X-Requested-With", "XMLHttpRequest"}, ""},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		for i := 0; i < len(tt.header); i += 2 {
			r.Header.Set(tt.header[i], tt.header[i+1])
		}
		w := httptest.NewRecorder()
		Of(auth.ErrUnauthorized).WriteJSON(w, r)
		if got := w.Header().Get("Www-Authenticate"); got != tt.want || w.Code != 401 {
			t.Errorf("%q: %d, challenge %q, want %q", tt.header, w.Code, got, tt.want)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	w := httptest.NewRecorder()
	Of(formats.ErrNotFound).WriteJSON(w, httptest.NewRequest("HEAD", "/", nil))
	if w.Body.Len() != 0 || w.Code != 404 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}
