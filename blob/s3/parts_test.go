package s3

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// Parts are within what S3 allows, and 10,000 of them reach 5 TiB.
func TestPartLength(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, size := range []int64{-1, 0, 1, 9 * mib, defaultPart * maxParts, defaultPart*maxParts + 1, 100 * gib, maxSize - 1, maxSize} {
		sum, last := int64(0), int64(0)
		for n := 1; n <= maxParts; n++ {
			l := partLength(defaultPart, size, n)
			if l < 5*mib || l > 5*gib || l < last {
				t.Fatalf("part %d of %d bytes has %d, after %d", n, size, l, last)
			}
			sum, last = sum+l, l
		}
		if want := max(size, 0); sum < want || size < 0 && sum < maxSize {
			t.Errorf("the parts of %d bytes hold %d", size, sum)
		}
	}
	if l := partLength(defaultPart, -1, 7<<30/defaultPart); l != defaultPart {
		t.Errorf("at 7 GiB a part has %d bytes, want %d", l, defaultPart)
	}
}

// A part holds what was written to it, up to its limit, and gives it any number
// of times.
func TestPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.OneOf(rapid.IntRange(1, 5000), rapid.IntRange(segment-10, 2*segment+10)).Draw(t, "limit")
		m := NewMemory(0)
		m.begin()
		need := limit
		if rapid.Bool().Draw(t, "known") {
			need = rapid.IntRange(1, limit).Draw(t, "need")
		}
		p := &part{mem: m, limit: int64(limit), need: int64(need)}
		var want []byte
		for i := range rapid.IntRange(0, 6).Draw(t, "writes") {
			n := rapid.OneOf(rapid.IntRange(0, 3000), rapid.IntRange(0, segment+20)).Draw(t, "length")
			b := bytes.Repeat([]byte{byte(i), byte(n), byte(n >> 8)}, n/3+1)[:n]
			if need < limit { // no more comes
				b = b[:min(n, need-len(want))]
			}
			fits := min(len(b), limit-len(want))
			if got, err := p.fill(context.Background(), b, false); got != fits || err != nil {
				t.Fatalf("fill of %d with %d of %d held = %d, %v, want %d", len(b), len(want), limit, got, err, fits)
			}
			want = append(want, b[:fits]...)
		}
		for range 2 {
			if _, err := p.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read %d bytes, %v, want %d", len(got), err, len(want))
			}
		}
		p.release()
		m.end()
		if m.left != m.total || len(m.free) > 0 {
			t.Fatalf("%d of %d bytes came back, %d segments are kept", m.left, m.total, len(m.free))
		}
	})
}

func TestPartReader(t *testing.T) {
	p := &part{mem: NewMemory(0), limit: 100, need: 100}
	if _, err := p.fill(t.Context(), []byte("hello, part"), false); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(p, []byte("hello, part")); err != nil {
		t.Error(err)
	}
}
