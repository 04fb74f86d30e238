package fs

import (
	"os"
	"sync"
	"unsafe"
)

// direct collects what is written until it can go to the disk in one aligned
// piece.
type direct struct {
	pool *sync.Pool
	buf  []byte // begins at a multiple of alignment, and is one long
	n    int    // bytes in buf
}

func newDirect(pool *sync.Pool, ioSize int) *direct {
	if d, ok := pool.Get().(*direct); ok {
		return d
	}
	size := (ioSize + alignment - 1) / alignment * alignment
	mem := make([]byte, size+alignment)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mem))) % alignment)
	return &direct{pool: pool, buf: mem[skip : skip+size : skip+size]}
}

// release gives the memory back. A nil direct has none.
func (d *direct) release() {
	if d != nil {
		d.n = 0
		d.pool.Put(d)
	}
}

func (d *direct) write(f *os.File, p []byte) error {
	for len(p) > 0 {
		m := copy(d.buf[d.n:], p)
		d.n += m
		p = p[m:]
		if d.n < len(d.buf) {
			continue
		}
		if _, err := f.Write(d.buf); err != nil {
			return err
		}
		d.n = 0
	}
	return nil
}

// finish writes the rest: what is aligned directly, and the end, which is not,
// through the page cache.
func (d *direct) finish(f *os.File) error {
	whole := d.n / alignment * alignment
	if whole > 0 {
		if _, err := f.Write(d.buf[:whole]); err != nil {
			return err
		}
	}
	if whole == d.n {
		return nil
	}
	if err := endDirect(f); err != nil {
		return err
	}
	_, err := f.Write(d.buf[whole:d.n])
	return err
}
