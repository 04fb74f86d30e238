package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync/atomic"
	"time"
)

// body passes on the bytes of an answer. It limits the time that they let wait
// for them, checks that all have come, and tells the gate which it was.
type body struct {
	from   io.ReadCloser
	size   int64 // -1: unknown
	pass   *pass
	url    *url.URL
	gone   func() error // of the caller: not nil once it has gone
	cause  func() error // why the transfer was cancelled, nil if it was not
	cancel context.CancelCauseFunc
	idle   time.Duration
	first  time.Time // when the first byte is due

	timer  *time.Timer // calls cancel; runs during a Read only
	read   int64
	err    error // with which it ended
	closed atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	wait := b.idle
	if b.read == 0 {
		wait = min(wait, max(time.Until(b.first), time.Millisecond))
	}
	b.timer.Reset(wait)
	n, err := b.from.Read(p)
	b.timer.Stop()
	b.read += int64(n)
	if err != nil {
		b.err = b.end(err)
	}
	return n, b.err
}

// end says how the body ended.
func (b *body) end(err error) error {
	switch {
	case errors.Is(err, io.EOF) && (b.size < 0 || b.read == b.size):
		b.pass.good()
		return io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case b.closed.Load():
		return err
	case b.gone() != nil:
		return err // not the host's fault
	case errors.Is(b.cause(), errSlow):
		err = errSlow
	}
	b.pass.bad()
	return failure(b.url, fmt.Errorf("the body ended after %d bytes: %w", b.read, err))
}

// Close ends the transfer. It may be called during a Read.
func (b *body) Close() error {
	b.closed.Store(true)
	b.timer.Stop()
	b.cancel(nil)
	return b.from.Close()
}
