package blob

import (
	"sync/atomic"

	"granary/blob/internal/buffer"
)

// Budget bounds the memory that all bodies wait in which are received at the
// same time. What it can't give more of is not waited for: a body that would
// have been held in memory streams into the store, and one that streams does so
// by smaller chunks. A nil budget has no end.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of n bytes. It does not count the first 64 KiB of
// a body.
func NewBudget(n int64) *Budget {
	b := &Budget{}
	b.left.Store(n)
	return b
}

// none is a budget that has nothing to give.
var none = NewBudget(0)

// take takes n bytes, or nothing.
func (b *Budget) take(n int64) bool {
	if b == nil {
		return true
	}
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *Budget) give(n int64) {
	if b != nil {
		b.left.Add(n)
	}
}

// loan is a buffer, and what it took of a budget.
type loan struct {
	*buffer.Buffer
	from *Budget
	n    int64
}

// buffer returns one of at least n bytes, or nil. One of firstBuffer is always
// to be had.
func (b *Budget) buffer(n int64) *loan {
	if n <= firstBuffer {
		return &loan{Buffer: buffer.New(n)}
	}
	if !b.take(n) {
		return nil
	}
	return &loan{buffer.New(n), b, n}
}

// release gives memory and budget back; a nil loan has none.
func (l *loan) release() {
	if l == nil {
		return
	}
	l.Release()
	l.from.give(l.n)
}
