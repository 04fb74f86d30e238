package exchange

import (
	"io"
	"net/http"
	"time"
)

var (
	_ http.ResponseWriter = (*Exchange)(nil)
	_ io.ReaderFrom       = (*Exchange)(nil)
	_ http.Flusher        = (*Exchange)(nil)
)

// Header is that of the answer.
func (x *Exchange) Header() http.Header { return x.w.Header() }

// WriteHeader sends the status; 1xx are passed on and don't count.
func (x *Exchange) WriteHeader(status int) {
	if status >= 200 {
		x.settle(status)
	}
	x.w.WriteHeader(status)
}

// Gatherer is a connection that sends several pieces at once.
type Gatherer interface {
	// Gather keeps pieces back until one that is long goes with them.
	Gather()
	// Send ends that, and sends what is still kept.
	Send() error
}

// longPiece is from where on, in bytes, net/http sends what it is given in more
// than one piece: first what fits behind the header, then the rest.
const longPiece = 4 << 10

// Write sends a part of the body.
func (x *Exchange) Write(p []byte) (int, error) {
	x.begin()
	n, err := x.write(p)
	x.count(int64(n))
	return n, err
}

func (x *Exchange) write(p []byte) (int, error) {
	if x.Conn == nil || len(p) < longPiece {
		return x.w.Write(p)
	}
	x.Conn.Gather()
	n, err := x.w.Write(p)
	if serr := x.Conn.Send(); err == nil {
		err = serr
	}
	return n, err
}

// WriteString saves a copy where the connection can.
func (x *Exchange) WriteString(s string) (int, error) {
	x.begin()
	n, err := io.WriteString(x.w, s)
	x.count(int64(n))
	return n, err
}

// ReadFrom keeps the way of net/http to sendfile open.
func (x *Exchange) ReadFrom(src io.Reader) (int64, error) {
	rf, ok := x.w.(io.ReaderFrom)
	if !ok {
		// Without the other methods, so that io.Copy does not come back here.
		return io.Copy(struct{ io.Writer }{x}, src)
	}
	x.begin()
	n, err := rf.ReadFrom(src)
	x.count(n)
	return n, err
}

// count leaves out what net/http keeps back.
func (x *Exchange) count(n int64) {
	if x.request.Method != http.MethodHead {
		x.sent += n
	}
}

// settle notes the status, once, when the header is complete.
func (x *Exchange) settle(status int) {
	if x.status != 0 {
		return
	}
	x.status = status
	if x.vary != "" {
		x.w.Header().Add("Vary", x.vary)
	}
}

func (x *Exchange) begin() {
	x.settle(http.StatusOK)
	if x.http2 && x.stall > 0 {
		x.arm()
	}
}

// arm gives up on an HTTP/2 stream whose reader takes nothing. An HTTP/1
// connection does so by itself; see httpapi.Server.
func (x *Exchange) arm() {
	now := time.Now()
	if now.Sub(x.armed) < x.stall/4 {
		return
	}
	x.armed = now
	_ = http.NewResponseController(x.w).SetWriteDeadline(now.Add(x.stall))
}

// Flush sends what net/http holds back.
func (x *Exchange) Flush() {
	// A Flusher has no error to return; the next write finds it.
	_ = http.NewResponseController(x.w).Flush()
}

// Unwrap is for [http.ResponseController].
func (x *Exchange) Unwrap() http.ResponseWriter { return x.w }
