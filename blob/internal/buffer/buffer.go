// Package buffer pools the long byte slices that bodies wait in.
package buffer

import "sync"

// Slack is added to every buffer, so that a body of exactly the length that was
// asked for leaves room for the read that finds its end.
const Slack = 512

// classes are the lengths in bytes of pooled buffers.
var classes = [...]int64{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20}

var pools [len(classes)]sync.Pool

// Buffer is memory that goes back to its pool when it is released.
type Buffer struct {
	B     []byte // all of it
	class int    // index in classes, -1 if it is too long to be pooled
}

// Size returns the length in bytes, less the slack, of a buffer that is made for
// n bytes.
func Size(n int64) int64 {
	for _, c := range classes {
		if n <= c {
			return c
		}
	}
	return n
}

// New returns a buffer of at least n+Slack bytes. It holds whatever was in it
// before.
func New(n int64) *Buffer {
	for i, c := range classes {
		if n > c {
			continue
		}
		if b, ok := pools[i].Get().(*Buffer); ok {
			return b
		}
		return &Buffer{B: make([]byte, c+Slack), class: i}
	}
	return &Buffer{B: make([]byte, n+Slack), class: -1}
}

// Release gives the memory back: nobody may use it afterwards. A nil buffer has
// none.
func (b *Buffer) Release() {
	if b != nil && b.class >= 0 {
		pools[b.class].Put(b)
	}
}
