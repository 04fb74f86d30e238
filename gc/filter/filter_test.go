package filter_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"granary/gc/filter"
)

func key(n int) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	h := sha256.Sum256(b[:])
	return h[:]
}

// What was marked is found, and the rate that is measured is the one that is
// reported and the one that was asked for.
func TestRate(t *testing.T) {
	for _, n := range []int{0, 10, 5_000, 200_000} {
		s := filter.New(filter.Size(int64(n), []byte("salt")))
		for i := range n {
			s.Add(key(i)[0], key(i))
		}
		for i := range n {
			if !s.Has(key(i)[0], key(i)) {
				t.Fatalf("of %d: %d was marked and is not found", n, i)
			}
		}
		const tries = 100_000
		wrong := 0
		for i := n; i < n+tries; i++ {
			if s.Has(key(i)[0], key(i)) {
				wrong++
			}
		}
		said := 0.0
		for p := range filter.Prefixes {
			said += s.Rate(byte(p)) / filter.Prefixes
		}
		measured := float64(wrong) / tries
		if measured > 0.015 || math.Abs(measured-said) > 0.003 {
			t.Errorf("of %d keys: false-positive rate %.4f, reported %.4f, want at most 0.01", n, measured, said)
		}
	}
}

// Keys that one salt keeps by mistake another does not.
func TestSalts(t *testing.T) {
	const n, tries = 20_000, 100_000
	sets := []*filter.Set{filter.New(filter.Size(n, []byte("one"))), filter.New(filter.Size(n, []byte("two")))}
	for i := range n {
		for _, s := range sets {
			s.Add(key(i)[0], key(i))
		}
	}
	both := 0
	for i := n; i < n+tries; i++ {
		if sets[0].Has(key(i)[0], key(i)) && sets[1].Has(key(i)[0], key(i)) {
			both++
		}
	}
	if both > tries/1000 {
		t.Errorf("%d of %d keys are kept by mistake under both salts", both, tries)
	}
}

func TestMemory(t *testing.T) {
	p := filter.Size(1_000_000, nil)
	if mib := float64(p.Memory()) / (1 << 20); mib > 1.3 {
		t.Errorf("filters of a million keys take %.2f MiB, want 1.2", mib)
	}
}

func TestSections(t *testing.T) {
	p := filter.Size(2000, []byte("salt"))
	a, b := filter.New(p), filter.New(p)
	for i := range 1000 {
		a.Add(key(i)[0], key(i))
		b.Add(key(1000 + i)[0], key(1000+i))
	}
	var stored [2]bytes.Buffer
	for i, s := range []*filter.Set{a, b} {
		if err := s.Write(&stored[i], "object", 0, filter.Prefixes); err != nil {
			t.Fatal(err)
		}
		if got := int64(stored[i].Len()); got != filter.Prefixes*p.Section() {
			t.Errorf("stored %d bytes, want %d", got, filter.Prefixes*p.Section())
		}
	}
	union := filter.New(p)
	for i := range stored {
		for prefix := range filter.Prefixes {
			r := bytes.NewReader(stored[i].Bytes()[int64(prefix)*p.Section():])
			if err := union.Merge(r, "object", byte(prefix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 2000 {
		if !union.Has(key(i)[0], key(i)) {
			t.Fatalf("%d is missing in the union", i)
		}
	}
}

func TestDamage(t *testing.T) {
	p := filter.Size(100, []byte("salt"))
	s := filter.New(p)
	s.Add(7, []byte("key"))
	var stored bytes.Buffer
	if err := s.Write(&stored, "object", 7, 9); err != nil {
		t.Fatal(err)
	}
	section := stored.Bytes()[:p.Section()]
	flipped := bytes.Clone(section)
	flipped[3] ^= 1
	other := filter.Size(100, []byte("another"))
	for name, try := range map[string]struct {
		params filter.Params
		data   []byte
		object string
		prefix byte
	}{
		"a bit":          {p, flipped, "object", 7},
		"cut off":        {p, section[:len(section)-1], "object", 7},
		"nothing":        {p, nil, "object", 7},
		"another object": {p, section, "objects", 7},
		"another prefix": {p, section, "object", 8},
		"another round":  {other, section, "object", 7},
	} {
		err := filter.New(try.params).Merge(bytes.NewReader(try.data), try.object, try.prefix)
		if !errors.Is(err, filter.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	if err := filter.New(p).Merge(bytes.NewReader(section), "object", 7); err != nil {
		t.Error(err)
	}
}

func BenchmarkAdd(b *testing.B) {
	s := filter.New(filter.Size(1_000_000, []byte("0123456789abcdef")))
	k := key(1)
	for i := range b.N {
		binary.LittleEndian.PutUint64(k[1:], uint64(i))
		s.Add(byte(i), k)
	}
}
