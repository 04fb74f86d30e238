package digest_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"granary/digest"
)

// Sums of "abc", from the functions' own specifications.
var abc = map[digest.Algorithm]string{
	digest.BLAKE3: "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
	digest.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	digest.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	digest.SHA1: "a9993e364706816aba3e25717850c26c9cd0d89d",
	digest.MD5:  "900150983cd24fb0d6963f7d28e17f72",
}

func TestKnownSums(t *testing.T) {
	h := digest.NewHasher(digest.Algorithms...)
	h.Write([]byte("abc"))
	s := h.Sums()
	for _, a := range digest.Algorithms {
		if got := s.Hex(a); got != abc[a] {
			t.Errorf("%s = %s, want %s", a, got, abc[a])
		}
		if a.Size() != len(s.Get(a)) {
			t.Errorf("%s.Size() = %d, sum has %d bytes", a, a.Size(), len(s.Get(a)))
		}
	}
	if h.Len() != 3 {
		t.Errorf("Len = %d, want 3", h.Len())
	}
}

func TestNewHasherChoosesAlgorithms(t *testing.T) {
	for _, c := range []struct {
		also []digest.Algorithm
		want []digest.Algorithm
	}{
		{nil, []digest.Algorithm{digest.BLAKE3, digest.SHA256}},
		{[]digest.Algorithm{digest.SHA256, digest.BLAKE3}, []digest.Algorithm{digest.BLAKE3, digest.SHA256}},
		{[]digest.Algorithm{digest.MD5, digest.MD5}, []digest.Algorithm{digest.BLAKE3, digest.SHA256, digest.MD5}},
		{[]digest.Algorithm{"crc32", digest.SHA1}, []digest.Algorithm{digest.BLAKE3, digest.SHA256, digest.SHA1}},
	} {
		if got := digest.NewHasher(c.also...).Sums().Algorithms(); !cmp.Equal(got, c.want) {
			t.Errorf("NewHasher(%v) computes %v, want %v", c.also, got, c.want)
		}
	}
}

// Pieces of any length, sums taken in between, and states from the pool give
// what one call on the whole gives.
func TestHasherEqualsOneShot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := digest.NewHasher(digest.Algorithms...)
		defer h.Release()
		var all []byte
		for i := range rapid.IntRange(0, 6).Draw(t, "pieces") {
			n := rapid.OneOf(rapid.IntRange(0, 3000), rapid.IntRange(200<<10, 300<<10)).Draw(t, "length")
			p := bytes.Repeat([]byte{byte(i), byte(n), byte(n >> 8)}, n/3+1)[:n]
			h.Write(p)
			all = append(all, p...)
			if rapid.Bool().Draw(t, "sum in between") {
				h.Sums()
			}
		}
		got := h.Sums()
		want := blake3.Sum256(all)
		if !bytes.Equal(got.BLAKE3, want[:]) {
			t.Fatalf("BLAKE3 of %d bytes = %x, want %x", len(all), got.BLAKE3, want)
		}
		for _, a := range digest.Algorithms {
			x := a.New()
			x.Write(all)
			if !bytes.Equal(got.Get(a), x.Sum(nil)) {
				t.Fatalf("%s of %d bytes = %x, want %x", a, len(all), got.Get(a), x.Sum(nil))
			}
		}
	})
}

func TestCheck(t *testing.T) {
	h := digest.NewHasher(digest.SHA1)
	h.Write([]byte("abc"))
	s := h.Sums()
	sum := func(a digest.Algorithm, x string) (out digest.Sums) {
		b, err := hex.DecodeString(x)
		if err != nil {
			t.Fatal(err)
		}
		out.Set(a, b)
		return out
	}
	for _, c := range []struct {
		name string
		want digest.Sums
		err  error
	}{
		{"nothing asked", digest.Sums{}, nil},
		{"equal", sum(digest.SHA1, abc[digest.SHA1]), nil},
		{"not computed", sum(digest.MD5, strings.Repeat("00", 16)), nil},
		{"different", sum(digest.SHA256, strings.Repeat("00", 32)), digest.ErrMismatch},
		{"short", sum(digest.SHA1, "a9993e"), digest.ErrMismatch},
	} {
		if err := s.Check(c.want); !errors.Is(err, c.err) {
			t.Errorf("%s: Check = %v, want %v", c.name, err, c.err)
		}
	}
}

func TestParseHex(t *testing.T) {
	for _, c := range []struct {
		a  digest.Algorithm
		in string
		ok bool
	}{
		{digest.MD5, abc[digest.MD5], true},
		{digest.MD5, strings.ToUpper(abc[digest.MD5]), true},
		{digest.MD5, "", false},
		{digest.MD5, abc[digest.MD5][:30], false},
		{digest.SHA1, abc[digest.MD5], false},
		{digest.MD5, strings.Repeat("zz", 16), false},
		{"crc32", "00000000", false},
		{"", "", false},
	} {
		got, err := digest.ParseHex(c.a, c.in)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, digest.ErrInvalid) {
			t.Errorf("ParseHex(%s, %q) = %v", c.a, c.in, err)
		}
		if c.ok && hex.EncodeToString(got) != strings.ToLower(c.in) {
			t.Errorf("ParseHex(%s, %q) = %x", c.a, c.in, got)
		}
	}
}

func TestSumsAccessors(t *testing.T) {
	var s digest.Sums
	if !s.IsZero() || s.Algorithms() != nil || s.Hex(digest.MD5) != "" || s.Get("crc32") != nil {
		t.Errorf("the zero value knows something: %+v", s)
	}
	s.Set("crc32", []byte{1})
	if !s.IsZero() {
		t.Error("an unknown algorithm was stored")
	}
	s.Set(digest.MD5, []byte{0xAB})
	if s.IsZero() || s.Hex(digest.MD5) != "ab" {
		t.Errorf("Set then Hex = %q", s.Hex(digest.MD5))
	}
}

func BenchmarkHasher(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"1KiB", 1 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			p := make([]byte, c.n)
			b.SetBytes(int64(c.n))
			b.ReportAllocs()
			for b.Loop() {
				h := digest.NewHasher()
				h.Write(p)
				h.Sums()
				h.Release()
			}
		})
	}
}

func TestHasherContinues(t *testing.T) {
	one := digest.NewHasher(digest.SHA512)
	one.Write([]byte("a"))
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		state, err := one.State(a)
		if err != nil {
			t.Fatal(err)
		}
		two := digest.NewHasher(a)
		if err := two.Continue(a, state); err != nil {
			t.Fatal(err)
		}
		two.Write([]byte("bc"))
		if got := two.Sums().Hex(a); got != abc[a] {
			t.Errorf("%s of a and bc = %s, want %s", a, got, abc[a])
		}
		if got := two.Sums().Hex(digest.BLAKE3); got == abc[digest.BLAKE3] {
			t.Error("BLAKE3 went on too")
		}
		if err := two.Continue(a, []byte("nonsense")); !errors.Is(err, digest.ErrInvalid) {
			t.Errorf("%s went on from nonsense: %v", a, err)
		}
	}
	if _, err := one.State(digest.BLAKE3); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("state of BLAKE3: %v", err)
	}
	if err := one.Continue(digest.MD5, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("continue an algorithm that is not computed: %v", err)
	}
}
