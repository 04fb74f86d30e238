// Package pipe connects clients and servers of tests without a network, for those
// in a bubble of testing/synctest, where time goes on only while everybody waits.
package pipe

import (
	"context"
	"net"
	"sync"
)

// Listener takes connections that are pipes. Make it with [Listen].
type Listener struct {
	conns  chan net.Conn
	close  sync.Once
	closed chan struct{}
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener that [Listener.Dial] connects to.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener]; a pipe has no address.
func (*Listener) Addr() net.Addr { return &net.IPAddr{} }

// Dial returns the other end of a connection that the listener accepts,
// [net.ErrClosed] after Close.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
