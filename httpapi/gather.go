package httpapi

import (
	"net"
	"sync"
)

// page is as much as net/http collects before it writes to a connection.
type page [4 << 10]byte

// kept is what was written to a connection and waits for what comes next, so
// that a header and its body are one system call and share a packet. It has
// memory only while something waits.
type kept struct {
	pages *sync.Pool
	page  *page
	n     int
}

// add keeps p if there is room for it.
func (k *kept) add(p []byte) bool {
	if k.n+len(p) > len(page{}) {
		return false
	}
	if k.page == nil {
		k.page, _ = k.pages.Get().(*page)
	}
	k.n += copy(k.page[k.n:], p)
	return true
}

// sendWith sends what is kept and p. It returns how much of p was sent.
func (k *kept) sendWith(c *net.TCPConn, p []byte) (int, error) {
	first := k.n
	both := net.Buffers{k.page[:first], p}
	n, err := both.WriteTo(c)
	k.pages.Put(k.page)
	k.page, k.n = nil, 0
	return max(int(n)-first, 0), err
}

// Gather implements [exchange.Gatherer]. Pieces that are written meanwhile, by
// the same goroutine, may be kept back.
func (c *conn) Gather() { c.gathering = true }

// Send implements [exchange.Gatherer].
func (c *conn) Send() error {
	c.gathering = false
	if c.kept.n == 0 {
		return nil
	}
	_, err := c.Write(nil)
	return err
}
