package telemetry

import (
	"io"
	"sync"
	"time"
)

// Writer collects log lines and passes them on in one write when enough have
// come together or a moment has passed. What a crash can lose is that moment.
type Writer struct {
	out  io.Writer
	size int

	// mu protects the fields below. writing is held around writes to out, so
	// that they keep their order while others go on collecting.
	mu     sync.Mutex
	buf    []byte
	spare  []byte
	closed bool

	writing sync.Mutex
	stop    chan struct{}
	done    sync.WaitGroup
}

// NewWriter passes on to out what has come together after size bytes (0: 64
// KiB) or after interval (0: a second). Close it to write the rest.
func NewWriter(out io.Writer, size int, interval time.Duration) *Writer {
	if size <= 0 {
		size = 64 << 10
	}
	if interval <= 0 {
		interval = time.Second
	}
	w := &Writer{out: out, size: size, stop: make(chan struct{})}
	w.done.Go(func() { w.run(interval) })
	return w
}

func (w *Writer) run(interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			// A log that can't be written has nowhere to say so.
			_ = w.Flush()
		case <-w.stop:
			return
		}
	}
}

// Write takes one or more whole lines. After Close it writes at once.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.buf = append(w.buf, p...)
	full := len(w.buf) >= w.size || w.closed
	w.mu.Unlock()
	if full {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush passes on what has come together.
func (w *Writer) Flush() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	buf := w.buf
	w.buf, w.spare = w.spare[:0], nil
	w.mu.Unlock()
	var err error
	if len(buf) > 0 {
		_, err = w.out.Write(buf)
	}
	if cap(buf) <= 4*w.size {
		w.mu.Lock()
		w.spare = buf[:0]
		w.mu.Unlock()
	}
	return err
}

// Close writes the rest and ends the writer's goroutine. Lines that come later
// are written at once.
func (w *Writer) Close() error {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	w.mu.Unlock()
	if !closed {
		close(w.stop)
	}
	w.done.Wait()
	return w.Flush()
}
