package s3

import (
	"errors"
	"io"
	"sync"

	"granary/blob/internal/buffer"
)

const (
	maxParts = 10_000
	// growEvery is after how many parts their length doubles: 10,000 parts that
	// begin at 8 MiB reach 5 TiB, and a blob of 7 GiB still has the short ones.
	growEvery = 1000
	// segment is what the memory of a part is made of, in bytes.
	segment = 8 << 20
	// shortest is the length from which a part gets a whole segment.
	shortest = 1 << 20
	// inFlight is how many bytes of parts may be on their way for one upload
	// while the next part fills: with it, an upload of up to 7 GiB has 24 MiB. A part
	// longer than that is sent alone.
	inFlight = 16 << 20
)

// partLength returns the length of part number n, from 1 on, of a blob of size
// bytes, -1 if that is unknown.
func partLength(first, size int64, n int) int64 {
	if size > first*maxParts {
		const mib = 1 << 20
		return (size/maxParts/mib + 1) * mib
	}
	if size >= 0 {
		return first
	}
	return first << ((n - 1) / growEvery)
}

// memory is where the parts of one upload get their segments from. What it has
// once taken from the pool it keeps until the end, so that an upload of any
// length has the same few.
type memory struct {
	mu   sync.Mutex // guards free
	free []*buffer.Buffer
}

func (m *memory) take() *buffer.Buffer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b
	}
	return buffer.New(segment)
}

func (m *memory) give(b *buffer.Buffer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, b)
}

// release gives everything back to the pool.
func (m *memory) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.free {
		b.Release()
	}
	m.free = nil
}

// part is what a part holds, in pooled memory. It is written, then read as
// often as its request has to be repeated.
type part struct {
	mem    *memory
	limit  int64            // its length when it is full
	n      int64            // its length now
	pieces []*buffer.Buffer // each segment long, but for the only one of a short part
	room   int64            // length of all pieces
	off    int64            // of the next Read
}

// at returns the memory from off to the end of its piece.
func (p *part) at(off int64) []byte {
	i := off / segment
	return p.pieces[i].B[off%segment : min(segment, p.room-i*segment)]
}

// fill takes what fits of b.
func (p *part) fill(b []byte) int {
	n := 0
	for n < len(b) && p.n < p.limit {
		if p.n == p.room {
			p.grow(int64(len(b) - n))
		}
		dst := p.at(p.n)
		m := copy(dst[:min(int64(len(dst)), p.limit-p.n)], b[n:])
		n += m
		p.n += int64(m)
	}
	return n
}

// grow makes room for more bytes: a short piece is replaced by one of at least
// four times its length, a long one gets another beside it.
func (p *part) grow(more int64) {
	if p.room >= segment {
		p.pieces = append(p.pieces, p.mem.take())
		p.room += segment
		return
	}
	var b *buffer.Buffer
	if n := min(max(4*p.room, p.n+more), p.limit); n < shortest {
		b = buffer.New(n)
	} else {
		b = p.mem.take() // it will not stay short
	}
	if p.room > 0 {
		copy(b.B, p.pieces[0].B[:p.n])
		p.pieces[0].Release()
	}
	p.pieces = append(p.pieces[:0], b)
	p.room = min(int64(len(b.B)), segment)
}

// release gives the memory back.
func (p *part) release() {
	for _, b := range p.pieces {
		if int64(len(b.B)) >= segment {
			p.mem.give(b)
		} else {
			b.Release()
		}
	}
	p.pieces, p.room, p.n, p.off = nil, 0, 0, 0
}

// Read implements [io.Reader].
func (p *part) Read(b []byte) (int, error) {
	if p.off >= p.n {
		return 0, io.EOF
	}
	from := p.at(p.off)
	n := copy(b, from[:min(int64(len(from)), p.n-p.off)])
	p.off += int64(n)
	return n, nil
}

// Seek implements [io.Seeker].
func (p *part) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += p.off
	case io.SeekEnd:
		off += p.n
	}
	if off < 0 {
		return 0, errors.New("seek before the part")
	}
	p.off = off
	return off, nil
}
