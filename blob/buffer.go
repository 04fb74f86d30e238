package blob

import "sync"

// slack is added to every pooled buffer, so that a body of exactly the class's
// length leaves room for the read that finds its end.
const slack = 512

// classes are the lengths in bytes of pooled buffers.
var classes = [...]int64{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20}

var bufferPools [len(classes)]sync.Pool

// buffer is memory that goes back to its pool when it is released.
type buffer struct {
	b     []byte // all of it, at least slack longer than was asked
	class int    // index in classes, -1 if it is too long to be pooled
}

// newBuffer returns a buffer for n bytes and the read that finds their end.
// What it holds is whatever was in it before.
func newBuffer(n int64) *buffer {
	for i, c := range classes {
		if n > c {
			continue
		}
		if b, ok := bufferPools[i].Get().(*buffer); ok {
			return b
		}
		return &buffer{b: make([]byte, c+slack), class: i}
	}
	return &buffer{b: make([]byte, n+slack), class: -1}
}

// release gives the memory back. A nil buffer has none.
func (b *buffer) release() {
	if b != nil && b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}
