package httpapi

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a TCP connection that gives up on a peer which takes nothing, and
// that remembers whether the peer ever sent a Content-Length on it.
type conn struct {
	*net.TCPConn
	stall time.Duration
	armed atomic.Int64 // Unix ns when the write deadline was set
	scan  scanner      // used by whoever reads: one goroutine at a time
	saw   atomic.Bool

	gathering bool
	kept      kept
}

type connKey struct{}

// withConn is for [http.Server.ConnContext].
func withConn(ctx context.Context, c net.Conn) context.Context {
	if plain, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, plain)
	}
	return ctx
}

func (c *conn) sawLength() bool { return c.saw.Load() }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 && !c.saw.Load() && c.scan.find(p[:n]) {
		c.saw.Store(true)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.gathering && c.kept.add(p) {
		return len(p), nil
	}
	if err := c.arm(); err != nil {
		return 0, err
	}
	if c.kept.n > 0 {
		return c.kept.sendWith(c.TCPConn, p)
	}
	return c.TCPConn.Write(p)
}

// sendChunk is what one call of sendfile may take a stall's time for.
const sendChunk = 1 << 20

// ReadFrom sends a file by sendfile, in pieces that each get time of their own:
// a long download is no stalled one.
func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	limit, rest := src, int64(-1)
	if l, ok := src.(*io.LimitedReader); ok {
		limit, rest = l.R, max(l.N, 0)
	}
	var total int64
	for rest != 0 {
		if err := c.arm(); err != nil {
			return total, err
		}
		piece := int64(sendChunk)
		if rest > 0 {
			piece = min(piece, rest)
		}
		n, err := c.TCPConn.ReadFrom(&io.LimitedReader{R: limit, N: piece})
		total += n
		if rest > 0 {
			rest -= n
			src.(*io.LimitedReader).N = rest
		}
		if err != nil || n < piece {
			return total, err
		}
	}
	return total, nil
}

// WriteTo would read past Read.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// arm gives the next write time. The deadline is moved only now and then,
// which costs less than a call for each write.
func (c *conn) arm() error {
	if c.stall <= 0 {
		return nil
	}
	now := time.Now()
	if now.UnixNano()-c.armed.Load() < int64(c.stall/4) {
		return nil
	}
	c.armed.Store(now.UnixNano())
	return c.TCPConn.SetWriteDeadline(now.Add(c.stall))
}

// SetWriteDeadline is for net/http; what it sets is replaced by the next write.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.armed.Store(0)
	return c.TCPConn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (c *conn) SetDeadline(t time.Time) error {
	c.armed.Store(0)
	return c.TCPConn.SetDeadline(t)
}

// listener wraps the connections that it accepts.
type listener struct {
	net.Listener
	stall time.Duration
	pages *sync.Pool // of *page
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	return &conn{TCPConn: tcp, stall: l.stall, kept: kept{pages: l.pages}}, nil
}
