package s3

import (
	"container/list"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"granary/blob/internal/buffer"
)

const (
	// segment is what the memory of a part is made of, in bytes.
	segment = 8 << 20
	// uncounted is up to which length in bytes a part is not counted: an upload
	// that has hardly begun, or hardly comes on, keeps no other one waiting.
	uncounted = 64 << 10
	// LeastMemory is that of one ordinary part, in bytes.
	LeastMemory = segment
	// DefaultMemory is for parts under way, in bytes.
	DefaultMemory = 24 << 20
	// patience is how long the first who waits puts up with nothing being given
	// back, and nothing being on its way to a bucket: then those who have the
	// memory wait themselves, for clients that are slow or for bytes that are
	// behind his, and he goes on without.
	patience = 5 * time.Second
)

// Memory bounds what the parts take that are under way to all buckets of a
// process. A part takes all that it may need before it has got more than the
// first 64 KiB, and gives it back when it has arrived, so that who has memory
// needs no more of it to go on. Who waits for it does not read on, and its
// client is slowed down.
//
// Only what is received for a client waits ([blob.Patient]): what the server
// itself makes may come as several blobs at once from one goroutine, of which
// one would wait for another. It is counted, so that clients wait for it.
type Memory struct {
	total int64

	mu    sync.Mutex       // guards what follows
	left  int64            // below 0 when somebody went on without
	moved time.Time        // when something was last given back, or somebody went on without
	queue *list.List       // of *waiter, the first has waited longest
	free  []*buffer.Buffer // segments for the next parts
	users int              // writers that have not ended
	aloft int              // parts on their way, which end by themselves

	collected atomic.Int64 // Unix ns when garbage was last collected for who waits
}

type waiter struct {
	n     int64
	since time.Time
	ready chan struct{} // closed when it has its memory
}

// NewMemory returns memory of n bytes, at least LeastMemory. A
// part that is longer than all of it is under way alone.
func NewMemory(n int64) *Memory {
	n = max(n, LeastMemory)
	return &Memory{total: n, left: n, queue: list.New()}
}

// begin says that there is another writer.
func (m *Memory) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users++
}

// end says that a writer has ended. The last one leaves nothing behind; until
// then segments go from part to part, so that uploads of any length have the
// same few.
func (m *Memory) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users > 0 {
		return
	}
	for _, b := range m.free {
		b.Release()
	}
	m.free = nil
}

// sending says that a part is on its way; landed, that it is no more.
func (m *Memory) sending() (landed func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.aloft++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.aloft--
		m.moved = time.Now()
	}
}

// take takes n bytes; patient: when there are as many, or at last without.
func (m *Memory) take(ctx context.Context, n int64, patient bool) error {
	n = min(n, m.total)
	m.mu.Lock()
	if !patient || m.queue.Len() == 0 && m.left >= n {
		m.left -= n
		m.mu.Unlock()
		return nil
	}
	w := &waiter{n, time.Now(), make(chan struct{})}
	place := m.queue.PushBack(w)
	m.mu.Unlock()
	m.collect()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-w.ready:
			return nil
		case <-ctx.Done():
			if !m.leave(place, w) {
				m.give(n) // it came at the same moment
			}
			return context.Cause(ctx)
		case <-timer.C:
			timer.Reset(m.hurry(place, w))
		}
	}
}

// collect collects garbage, at most five times a second. A rush of uploads leaves
// buffers in pools that nobody needs once all are long ones that wait; and a
// heap of few long buffers doubles before the collector runs by itself, which is
// as much again as may be used. It takes some milliseconds of who waits anyway.
func (m *Memory) collect() {
	last, now := m.collected.Load(), time.Now().UnixNano()
	if now-last > int64(time.Second/5) && m.collected.CompareAndSwap(last, now) {
		runtime.GC()
	}
}

// leave takes a waiter out of the queue, false if it has its memory already.
func (m *Memory) leave(place *list.Element, w *waiter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.ready:
		return false
	default:
	}
	m.queue.Remove(place)
	m.serve() // a longer one may have stood before those that fit
	return true
}

// hurry lets the first waiter go on without memory if nothing has moved for as
// long as he has patience. It returns when to ask again.
func (m *Memory) hurry(place *list.Element, w *waiter) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, since := time.Now(), w.since
	if m.moved.After(since) {
		since = m.moved
	}
	if left := patience - now.Sub(since); left > 0 {
		return left
	}
	if m.queue.Front() == place && m.aloft == 0 {
		m.moved = now
		m.left -= w.n
		m.queue.Remove(place)
		close(w.ready)
	}
	return patience
}

// give gives n bytes back.
func (m *Memory) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left += min(n, m.total)
	m.moved = time.Now()
	m.serve()
}

// serve lets those go on for whom there is memory, in their order.
func (m *Memory) serve() {
	for first := m.queue.Front(); first != nil; first = m.queue.Front() {
		w := first.Value.(*waiter)
		if m.left < w.n {
			return
		}
		m.left -= w.n
		m.queue.Remove(first)
		close(w.ready)
	}
}

// segment returns one of those that were taken.
func (m *Memory) segment() *buffer.Buffer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b
	}
	return buffer.New(segment)
}

// recycle takes a segment for the next part.
func (m *Memory) recycle(b *buffer.Buffer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, b)
}

// cost is what a part takes that may need n bytes.
func cost(n int64) int64 {
	if n > segment {
		return (n + segment - 1) / segment * segment
	}
	return buffer.Size(n)
}
