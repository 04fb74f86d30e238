package httpapi

import (
	"io"
	"net/http"
	"time"

	"granary/httpapi/exchange"
)

// A client that is refused while it sends hears why only if its bytes are
// taken until it looks; many look when they are done. So much is taken, and no
// more.
const (
	drainBytes = 4 << 20
	drainTime  = 5 * time.Second
	keptBytes  = 128 << 10 // below the 256 KiB of net/http
)

// refuseBody prepares for an answer to a request whose body is not wanted. The
// function that it returns, called after the answer was written, takes a part
// of the body; the connection is closed then.
func refuseBody(x *exchange.Exchange, r *http.Request) func() {
	if !x.BodyLeft() || r.ProtoMajor != 1 {
		return func() {} // HTTP/2 resets the stream
	}
	if r.Header.Get("Expect") != "" && x.Received() == 0 {
		// The client waits for 100 Continue and gets the answer instead.
		// net/http closes the connection: what comes next may be the body.
		return func() {}
	}
	rc := http.NewResponseController(x)
	if left := r.ContentLength - x.Received(); r.ContentLength >= 0 && left <= keptBytes {
		// net/http takes so much before it answers, and keeps the connection.
		_ = rc.SetReadDeadline(time.Now().Add(drainTime))
		return func() {}
	}
	if rc.EnableFullDuplex() != nil {
		return func() {}
	}
	x.Header().Set("Connection", "close")
	return func() {
		if rc.Flush() != nil {
			return
		}
		// Not r.Body, which would give the client more time with each byte.
		if rc.SetReadDeadline(time.Now().Add(drainTime)) != nil {
			return
		}
		// How it ends does not matter: the connection is closed either way.
		_, _ = io.CopyN(io.Discard, x.RawBody(), drainBytes)
	}
}
