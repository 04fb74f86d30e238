package upstream

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"granary/formats"
)

// result turns the last answer into a Response, whose body is still to be
// wrapped, or into an error. It tells the gate how the host did, except for a
// body.
func (c *call) result(h *hop) (*Response, error) {
	r := &Response{
		Header: h.Header, ETag: h.Header.Get("ETag"), LastModified: h.Header.Get("Last-Modified"),
		Size: h.ContentLength, Body: http.NoBody, URL: h.url.String(),
	}
	conditional := !c.request.ranged() && (c.request.ETag != "" || c.request.LastModified != "")
	switch {
	case h.StatusCode == http.StatusOK, h.StatusCode == http.StatusNonAuthoritativeInfo:
	case h.StatusCode == http.StatusPartialContent && c.request.ranged():
		if err := r.partial(c.request.Offset); err != nil {
			h.pass.good()
			h.close()
			return nil, h.failed("%w", err)
		}
	case h.StatusCode == http.StatusNotModified && conditional:
		r.NotModified = true
	default:
		defer h.close()
		return nil, c.refusal(h)
	}
	if r.NotModified || c.method == http.MethodHead || h.Body == http.NoBody {
		h.pass.good()
		h.close()
		return r, nil
	}
	h.pass.begun()
	r.Body = h.Body
	return r, nil
}

// partial checks that a partial answer begins where it was asked to.
func (r *Response) partial(offset int64) error {
	v := r.Header.Get("Content-Range")
	spec, ok := strings.CutPrefix(v, "bytes ")
	from, rest, ok2 := strings.Cut(spec, "-")
	to, _, ok3 := strings.Cut(rest, "/")
	first, err := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if !ok || !ok2 || !ok3 || err != nil || err2 != nil || first != offset || last < first {
		return fmt.Errorf("range %q instead of one from %d on", v, offset)
	}
	if size := last - first + 1; r.Size >= 0 && r.Size != size {
		return fmt.Errorf("range %q with %d bytes", v, r.Size)
	}
	r.Offset, r.Size = first, last-first+1
	return nil
}

// refusal is the error for a status that brings nothing.
func (c *call) refusal(h *hop) error {
	if h.StatusCode >= 500 {
		h.pass.bad()
	} else {
		h.pass.good()
	}
	switch h.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		e := h.failed("the upstream has no such file")
		e.kind = formats.ErrNotFound
		return e
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e := h.failed("the upstream is overloaded")
		e.RetryAfter = h.pass.pause(retryAfter(h.Header, c.client.now()), h.StatusCode)
		return e
	case http.StatusUnauthorized:
		switch {
		case c.auth == nil:
			return h.failed("the upstream needs credentials")
		case c.left:
			return h.failed("needs credentials, which are for %s only", c.trust.base)
		}
		return h.failed("the upstream does not accept the credentials")
	case http.StatusForbidden:
		return h.failed("the upstream refuses access")
	}
	return h.failed("an answer that can't be used")
}
