package s3

import (
	"context"
	"errors"
	"io"

	"granary/blob/internal/buffer"
)

const (
	maxParts = 10_000
	// growEvery is after how many parts their length doubles: 10,000 parts that
	// begin at 8 MiB reach 5 TiB, and a blob of 7 GiB still has the short ones.
	growEvery = 1000
	// inFlight is how many bytes of parts may be on their way for one upload
	// while the next part fills: with it, an upload of up to 7 GiB has 24 MiB of
	// [Memory] at the most. A part longer than that is sent alone.
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

// part is what a part holds, in pooled memory. It is written, then read as
// often as its request has to be repeated.
type part struct {
	mem    *Memory
	limit  int64            // its length when it is full
	need   int64            // how long it will be at the most
	took   int64            // of mem
	n      int64            // its length now
	pieces []*buffer.Buffer // each a segment long, but for the only one of a short part
	room   int64            // length of all pieces
	off    int64            // of the next Read
}

// at returns the memory from off to the end of its piece.
func (p *part) at(off int64) []byte {
	i := off / segment
	return p.pieces[i].B[off%segment : min(segment, p.room-i*segment)]
}

// fill takes what fits of b, once there is memory for it.
func (p *part) fill(ctx context.Context, b []byte, patient bool) (int, error) {
	n := 0
	for n < len(b) && p.n < p.limit {
		if p.n == p.room {
			if err := p.grow(ctx, int64(len(b)-n), patient); err != nil {
				return n, err
			}
		}
		dst := p.at(p.n)
		m := copy(dst[:min(int64(len(dst)), p.limit-p.n)], b[n:])
		n += m
		p.n += int64(m)
	}
	return n, nil
}

// grow makes room for more bytes. The first are not counted; for what comes
// then the part takes all the memory that it may need.
func (p *part) grow(ctx context.Context, more int64, patient bool) error {
	if p.room >= segment {
		p.add(p.mem.segment())
		return nil
	}
	if p.took == 0 && p.n+more <= uncounted {
		p.move(buffer.New(min(max(4*p.room, p.n+more), uncounted)))
		return nil
	}
	n := cost(p.need)
	if err := p.mem.take(ctx, n, patient); err != nil {
		return err
	}
	if p.took = n; n < segment {
		p.move(buffer.New(n))
	} else {
		p.move(p.mem.segment())
	}
	return nil
}

// move puts what is held into another, longer piece.
func (p *part) move(b *buffer.Buffer) {
	if p.room > 0 {
		copy(b.B, p.pieces[0].B[:p.n])
		p.pieces[0].Release()
	}
	p.pieces, p.room = p.pieces[:0], 0
	p.add(b)
}

func (p *part) add(b *buffer.Buffer) {
	p.pieces = append(p.pieces, b)
	p.room += min(int64(len(b.B)), segment)
}

// release gives the memory back.
func (p *part) release() {
	for _, b := range p.pieces {
		if int64(len(b.B)) >= segment {
			p.mem.recycle(b)
		} else {
			b.Release()
		}
	}
	if p.took > 0 {
		p.mem.give(p.took)
	}
	p.pieces, p.room, p.took, p.n, p.off = nil, 0, 0, 0, 0
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
