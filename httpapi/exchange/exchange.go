// Package exchange is one request on its way through the server: who asks, what
// it is called in logs and metrics, and what was sent and received so far. It
// travels in the context and is the ResponseWriter at the same time, so that a
// request costs one allocation for all of it.
package exchange

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"granary/auth"
	"granary/formats"
)

// Exchange is used by the goroutine of its request.
type Exchange struct {
	// ID is the request id.
	ID string
	// Client is the client's address.
	Client string
	// TraceID is the 32 hex digits of the request's trace, or of the traceparent
	// of one that isn't traced here; "" without either.
	TraceID string
	// Identity is who asks; the zero value has no rights.
	Identity auth.Identity
	// NativeToken is the credential that only some formats' clients send, by
	// which Identity was shown; "" for every other.
	NativeToken string
	// Route is the template of the path, one of few; Action the operation.
	Route, Action string
	// Repository is the name that the caller's rights were decided on, ""
	// where none was.
	Repository string
	// Subject is who a log-in named, or credentials that were refused.
	Subject string
	// LogIn: the request is a log-in though its method only reads.
	LogIn bool
	// Refused is the method of credentials that were refused, "" if none were.
	Refused auth.Method
	// Conn is the connection, if it can send a header and a body together.
	Conn Gatherer

	w       http.ResponseWriter
	body    *body
	status  int
	vary    string
	sent    int64
	stall   time.Duration
	http2   bool
	armed   time.Time // when the write deadline of an HTTP/2 stream was set
	base    func(*http.Request) string
	request *http.Request
}

type contextKey struct{}

// Begin wraps w and r. stall is how long a read or write may make no progress,
// 0: for ever; base tells the server's URL.
func Begin(w http.ResponseWriter, r *http.Request, stall time.Duration, base func(*http.Request) string) (*Exchange, *http.Request) {
	x := &Exchange{w: w, stall: stall, http2: r.ProtoMajor == 2, base: base}
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, x))
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &body{ReadCloser: r.Body, x: x}
		r.Body = x.body
		if stall > 0 {
			// net/http reads on by itself when a handler leaves a body unread.
			x.body.deadline(time.Now().Add(stall))
		}
	}
	x.request = r
	return x, r
}

// From returns the exchange of a context that [Begin] made.
func From(ctx context.Context) *Exchange {
	x, _ := ctx.Value(contextKey{}).(*Exchange)
	return x
}

// Vary names a request header that every answer depends on, beside those that
// a handler may name.
func (x *Exchange) Vary(name string) { x.vary = name }

// Status is what was answered, 0 if nothing was yet.
func (x *Exchange) Status() int { return x.status }

// Sent is the bytes of body sent; HEAD has none.
func (x *Exchange) Sent() int64 { return x.sent }

// Received is the bytes of body read.
func (x *Exchange) Received() int64 {
	if x.body == nil {
		return 0
	}
	return x.body.n
}

// Base is the URL of the server as the client knows it, without a slash at its
// end.
func (x *Exchange) Base() string { return x.base(x.request) }

// Request is the request as the handlers see it.
func (x *Exchange) Request() *http.Request { return x.request }

// Credentials tells whether the request carried any.
func (x *Exchange) Credentials() bool { return x.Identity.Method != auth.Anonymous }

// ClientGone tells whether the request ended because of the client: it went
// away, or sent less than it announced.
func (x *Exchange) ClientGone() bool {
	return errors.Is(x.request.Context().Err(), context.Canceled)
}

// BodyError is how reading the body failed, nil if it did not.
func (x *Exchange) BodyError() error {
	switch {
	case x.body == nil || x.body.err == nil || errors.Is(x.body.err, io.EOF):
		return nil
	case errors.Is(x.body.err, io.ErrUnexpectedEOF):
		return formats.ErrTruncated
	}
	return x.body.err
}

// BodyLeft tells whether the body was not read to its end.
func (x *Exchange) BodyLeft() bool { return x.body != nil && x.body.err == nil }

// body counts what is read and gives up on a client that sends nothing.
type body struct {
	io.ReadCloser
	x   *Exchange
	n   int64
	err error
}

func (b *body) Read(p []byte) (int, error) {
	x := b.x
	if x.stall > 0 {
		b.deadline(time.Now().Add(x.stall))
	}
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil {
		b.err = err
		if x.stall > 0 && errors.Is(err, io.EOF) {
			// What follows is for net/http, which watches the connection
			// while the handler works.
			b.deadline(time.Time{})
		}
	}
	return n, err
}

// deadline does nothing where the connection has none, as in tests.
func (b *body) deadline(t time.Time) {
	_ = http.NewResponseController(b.x.w).SetReadDeadline(t)
}

// RawBody is the body without its deadlines; only for a request that has one.
func (x *Exchange) RawBody() io.Reader { return x.body.ReadCloser }
