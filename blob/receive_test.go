package blob_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"granary/blob"
	"granary/blob/mem"
	"granary/digest"
)

// content returns n bytes that repeat nowhere near.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

// listed returns the ids in s.
func listed(t testing.TB, s blob.Store) (ids []blob.ID) {
	t.Helper()
	for i, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, i.ID)
	}
	return ids
}

func read(t testing.TB, s blob.Store, id blob.ID) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), id, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newStore(t testing.TB, cfg mem.Config) *mem.Store {
	cfg.Report = t.Errorf
	s := mem.New(cfg)
	t.Cleanup(s.Check)
	return s
}

// Bodies around every boundary, announced or not, arrive as they are.
func TestReceiveSizes(t *testing.T) {
	const kb, mb = 1 << 10, 1 << 20
	for _, c := range []struct {
		size   int
		buffer int64
		inMem  bool
	}{
		{0, 0, true}, {1, 0, true}, {4 * kb, 0, true}, {4*kb + 511, 0, true}, {4*kb + 512, 0, true}, {64 * kb, 0, true},
		{64*kb + 600, 0, true}, {mb, 0, true}, {mb + 1, 0, true}, {3 * mb, 0, true}, {8*mb - 1, 0, true}, {8 * mb, 0, true},
		{8*mb + 1, 0, false}, {8*mb + 512, 0, false}, {8*mb + 513, 0, false}, {11*mb + 7, 0, false},
		{10, 10, true}, {11, 10, false}, {600, 10, false}, {10 * kb, 10, false}, {mb + 9, 100 * kb, false},
	} {
		body := content(c.size)
		for _, announced := range []int64{-1, int64(c.size)} {
			s := newStore(t, mem.Config{})
			v, err := blob.Receive(t.Context(), s, bytes.NewReader(body),
				blob.Options{Buffer: c.buffer, Size: announced, Also: []digest.Algorithm{digest.SHA1}})
			if err != nil {
				t.Fatalf("%d bytes, %d announced: %v", c.size, announced, err)
			}
			checkReceived(t, s, v, body, c.inMem)
			if err := v.Discard(t.Context()); err != nil {
				t.Error(err)
			}
			s.Check()
		}
	}
}

func checkReceived(t *testing.T, s *mem.Store, v *blob.Received, body []byte, inMem bool) {
	t.Helper()
	b3, s1 := blake3.Sum256(body), sha1.Sum(body)
	if v.Size() != int64(len(body)) || !bytes.Equal(v.Sums().BLAKE3, b3[:]) || !bytes.Equal(v.Sums().SHA1, s1[:]) {
		t.Errorf("%d bytes: size %d, BLAKE3 %x, want %x", len(body), v.Size(), v.Sums().BLAKE3, b3)
	}
	got, ok := v.Bytes()
	if ok != inMem || ok && !bytes.Equal(got, body) {
		t.Errorf("%d bytes: in memory %v, want %v", len(body), ok, inMem)
	}
	if ids := listed(t, s); len(ids) > 0 {
		t.Errorf("%d bytes: %v is visible before Persist", len(body), ids)
	}
	id, err := v.Persist(t.Context())
	if err != nil {
		t.Fatalf("%d bytes: Persist: %v", len(body), err)
	}
	if again, err := v.Persist(t.Context()); err != nil || again != id {
		t.Errorf("second Persist = %s, %v, want %s", again, err, id)
	}
	if ids := listed(t, s); !cmp.Equal(ids, []blob.ID{id}) {
		t.Errorf("stored are %v, want %s", ids, id)
	}
	if !bytes.Equal(read(t, s, id), body) {
		t.Errorf("%d bytes: stored ones differ", len(body))
	}
}

func TestDiscard(t *testing.T) {
	for _, size := range []int{100, 9 << 20} {
		for _, c := range []struct {
			name          string
			persist, keep bool
			left          int
		}{
			{"received", false, false, 0},
			{"persisted", true, false, 0},
			{"kept", true, true, 1},
			{"kept without persist", false, true, 0},
		} {
			s := newStore(t, mem.Config{})
			v, err := blob.Receive(t.Context(), s, bytes.NewReader(content(size)), blob.Options{Size: -1})
			if err != nil {
				t.Fatal(err)
			}
			if c.persist {
				if _, err := v.Persist(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if c.keep {
				v.Keep()
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel() // the request is over: Discard cleans up all the same
			for range 2 {
				if err := v.Discard(gone); err != nil {
					t.Errorf("%s: Discard: %v", c.name, err)
				}
			}
			if n := len(listed(t, s)); n != c.left {
				t.Errorf("%s of %d bytes: %d blobs left, want %d", c.name, size, n, c.left)
			}
			if _, err := v.Persist(t.Context()); err == nil {
				t.Errorf("%s: Persist after Discard succeeded", c.name)
			}
			if _, err := v.ReadAt(make([]byte, 1), 0); err == nil {
				t.Errorf("%s: ReadAt after Discard succeeded", c.name)
			}
			if b, ok := v.Bytes(); ok || b != nil {
				t.Errorf("%s: Bytes after Discard", c.name)
			}
			s.Check()
		}
	}
}

var errWire = errors.New("connection reset")

// What fails while receiving says whose fault it was and leaves nothing.
func TestReceiveErrors(t *testing.T) {
	const mb = 1 << 20
	cut := func(n int, err error) io.Reader {
		return io.MultiReader(bytes.NewReader(content(n)), iotest.ErrReader(err))
	}
	for _, c := range []struct {
		name   string
		body   io.Reader
		o      blob.Options
		want   error
		reader bool
	}{
		{"short", bytes.NewReader(content(10)), blob.Options{Size: 11}, io.ErrUnexpectedEOF, true},
		{"short stream", bytes.NewReader(content(10 * mb)), blob.Options{Size: 10*mb + 1}, io.ErrUnexpectedEOF, true},
		{"empty instead of long", bytes.NewReader(nil), blob.Options{Size: 20 * mb}, io.ErrUnexpectedEOF, true},
		{"long", bytes.NewReader(content(12)), blob.Options{Size: 11}, blob.ErrLength, false},
		{"longer than nothing", bytes.NewReader(content(1)), blob.Options{Size: 0}, blob.ErrLength, false},
		{"long stream", bytes.NewReader(content(10*mb + 1)), blob.Options{Size: 10 * mb}, blob.ErrLength, false},
		{"too large as announced", iotest.ErrReader(errWire), blob.Options{Size: 11, Max: 10}, blob.ErrTooLarge, false},
		{"too large", bytes.NewReader(content(11)), blob.Options{Size: -1, Max: 10}, blob.ErrTooLarge, false},
		{"too large stream", bytes.NewReader(content(10*mb + 1)), blob.Options{Size: -1, Max: 10 * mb}, blob.ErrTooLarge, false},
		{"reset", cut(100, errWire), blob.Options{Size: -1}, errWire, true},
		{"reset at once", cut(0, errWire), blob.Options{Size: 5 * mb}, errWire, true},
		{"reset stream", cut(12*mb, errWire), blob.Options{Size: 13 * mb}, errWire, true},
		{"reset stream of unknown length", cut(12*mb, errWire), blob.Options{Size: -1}, errWire, true},
		{"nothing for ever", noProgress{}, blob.Options{Size: -1}, io.ErrNoProgress, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, mem.Config{})
			v, err := blob.Receive(t.Context(), s, c.body, c.o)
			var re *blob.ReadError
			if v != nil || !errors.Is(err, c.want) || errors.As(err, &re) != c.reader {
				t.Errorf("Receive = %v, %v, want %v, of the reader: %v", v, err, c.want, c.reader)
			}
			if ids := listed(t, s); len(ids) > 0 {
				t.Errorf("left %v", ids)
			}
		})
	}
}

type noProgress struct{}

func (noProgress) Read([]byte) (int, error) { return 0, nil }

func TestReceiveAtTheLimit(t *testing.T) {
	for _, size := range []int{10, 9 << 20} {
		s := newStore(t, mem.Config{})
		v, err := blob.Receive(t.Context(), s, bytes.NewReader(content(size)), blob.Options{Size: -1, Max: int64(size)})
		if err != nil {
			t.Fatalf("%d of %d bytes allowed: %v", size, size, err)
		}
		defer v.Discard(t.Context())
	}
}

// Each call of a store fails in turn, before and after its effect: the error
// comes out and, unless the store refuses to delete as well, nothing stays.
func TestStoreFails(t *testing.T) {
	for _, size := range []int{100, 9 << 20} {
		for _, call := range []mem.Call{mem.Create, mem.Write, mem.Commit} {
			for _, late := range []bool{false, true} {
				fail := func(_ context.Context, c mem.Call, _ blob.ID) error {
					if c == call {
						return blob.ErrUnavailable
					}
					return nil
				}
				cfg := mem.Config{Before: fail}
				if late {
					cfg = mem.Config{After: fail}
				}
				s := newStore(t, cfg)
				v, err := blob.Receive(t.Context(), s, bytes.NewReader(content(size)), blob.Options{Size: -1})
				if err == nil {
					_, err = v.Persist(t.Context())
					if derr := v.Discard(t.Context()); derr != nil {
						t.Errorf("Discard: %v", derr)
					}
				}
				var re *blob.ReadError
				if !errors.Is(err, blob.ErrUnavailable) || errors.As(err, &re) {
					t.Errorf("%s failing of %d bytes: %v", call, size, err)
				}
				if ids := listed(t, s); len(ids) > 0 {
					t.Errorf("%s failing of %d bytes (late: %v) left %v", call, size, late, ids)
				}
				s.Check()
			}
		}
	}
}

// What waits in memory can be persisted after a failure, under a new id.
func TestPersistAgain(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	s := newStore(t, mem.Config{After: func(_ context.Context, c mem.Call, _ blob.ID) error {
		if c == mem.Commit && broken.Load() {
			return blob.ErrUnavailable
		}
		return nil
	}})
	v, err := blob.Receive(t.Context(), s, strings.NewReader("hello"), blob.Options{Size: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Persist(t.Context()); !errors.Is(err, blob.ErrUnavailable) {
		t.Fatalf("Persist = %v", err)
	}
	broken.Store(false)
	id, err := v.Persist(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.Keep()
	if err := v.Discard(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ids := listed(t, s); !cmp.Equal(ids, []blob.ID{id}) {
		t.Errorf("left %v, want %s alone", ids, id)
	}
}

func TestNoSpace(t *testing.T) {
	s := newStore(t, mem.Config{Quota: 8<<20 + 100})
	_, err := blob.Receive(t.Context(), s, bytes.NewReader(content(9<<20)), blob.Options{Size: -1})
	if !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Receive = %v, want ErrNoSpace", err)
	}
}

func TestReceiveCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newStore(t, mem.Config{})
	body := io.MultiReader(bytes.NewReader(content(9<<20)), readerFunc(func(p []byte) (int, error) {
		cancel(errWire)
		return copy(p, "x"), nil
	}))
	if _, err := blob.Receive(ctx, s, body, blob.Options{Size: -1}); !errors.Is(err, errWire) {
		t.Errorf("Receive = %v, want the cause of the cancellation", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestInline(t *testing.T) {
	for _, c := range []struct {
		size   int
		inline int64
		want   bool
	}{{10, 10, true}, {11, 10, false}, {0, 0, true}, {1, 0, false}, {0, -1, false}, {40, 100, true}} {
		s := newStore(t, mem.Config{})
		v, err := blob.Receive(t.Context(), s, bytes.NewReader(content(c.size)), blob.Options{Inline: c.inline, Buffer: 20, Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := v.Inline(); ok != c.want || ok && len(b) != c.size {
			t.Errorf("Inline of %d bytes with limit %d = %d bytes, %v", c.size, c.inline, len(b), ok)
		}
		v.Discard(t.Context())
	}
}

// ReadAt says the same of a body in memory and of one that was streamed, at
// random places and all the way through.
func TestReadAt(t *testing.T) {
	body := content(3<<20 + 77)
	for _, buffer := range []int64{8 << 20, 1000} {
		s := newStore(t, mem.Config{})
		v, err := blob.Receive(t.Context(), s, bytes.NewReader(body), blob.Options{Buffer: buffer, Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.NewSectionReader(v, 100, 5000), body[100:5100]); err != nil {
			t.Error(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("read through: %d bytes, %v", len(got), err)
		}
		rapid.Check(t, func(t *rapid.T) {
			off := rapid.IntRange(0, len(body)+10).Draw(t, "offset")
			n := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(0, 2<<20)).Draw(t, "length")
			p := make([]byte, n)
			m, err := v.ReadAt(p, int64(off))
			want := body[min(off, len(body)):min(off+n, len(body))]
			if !bytes.Equal(p[:m], want) || (err == io.EOF) != (m < n) && m < n || err != nil && err != io.EOF {
				t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, m, err)
			}
		})
		if _, err := v.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("ReadAt of a negative offset succeeded")
		}
		if err := v.Discard(t.Context()); err != nil {
			t.Error(err)
		}
		if ids := listed(t, s); len(ids) > 0 {
			t.Errorf("Discard after ReadAt left %v", ids)
		}
	}
}

func TestReceiveContinues(t *testing.T) {
	s := mem.New(mem.Config{})
	whole := bytes.Repeat([]byte("0123456789"), 1000)
	var state []byte
	for _, part := range [][]byte{whole[:1], whole[1:5000], whole[5000:]} {
		v, err := blob.Receive(t.Context(), s, bytes.NewReader(part), blob.Options{Size: -1, Inline: 4 << 10, Buffer: 4 << 10, After: state, Continued: true})
		if err != nil {
			t.Fatal(err)
		}
		if one := blake3.Sum256(part); !bytes.Equal(v.Sums().BLAKE3, one[:]) {
			t.Errorf("BLAKE3 of a part is %x", v.Sums().BLAKE3)
		}
		state = v.State()
		if sum := sha256.Sum256(whole); len(part) == 5000 && !bytes.Equal(v.Sums().SHA256, sum[:]) {
			t.Errorf("SHA-256 of all parts is %x", v.Sums().SHA256)
		}
		v.Discard(t.Context())
	}
	if _, err := blob.Receive(t.Context(), s, bytes.NewReader(whole), blob.Options{Size: -1, After: []byte("no state")}); !errors.Is(err, digest.ErrInvalid) {
		t.Errorf("went on from no state: %v", err)
	}
}

// What exceeds the budget streams, by small chunks, and arrives all the same;
// what was taken is given back.
func TestBudget(t *testing.T) {
	const mb = 1 << 20
	for _, budget := range []int64{0, 64 << 10, 300 << 10, mb, 4 * mb, 64 * mb} {
		b := blob.NewBudget(budget)
		for _, size := range []int{10, 64 << 10, 64<<10 + 600, 200 << 10, 3 * mb, 8 * mb, 9*mb + 1} {
			body := content(size)
			for _, announced := range []int64{-1, int64(size)} {
				s := newStore(t, mem.Config{})
				v, err := blob.Receive(t.Context(), s, bytes.NewReader(body), blob.Options{Size: announced, Inline: 16 << 10, Budget: b})
				if err != nil {
					t.Fatal(err)
				}
				if sum := sha256.Sum256(body); !bytes.Equal(v.Sums().SHA256, sum[:]) {
					t.Errorf("%d bytes within %d: wrong digest", size, budget)
				}
				_, held := v.Bytes()
				if held && int64(size) > 64<<10+512 && int64(size) > budget || !held && int64(size) <= 64<<10 {
					t.Errorf("%d bytes within %d: in memory is %v", size, budget, held)
				}
				if budget == 64*mb && held != (size <= 8*mb) {
					t.Errorf("%d bytes within %d: in memory is %v", size, budget, held)
				}
				id, err := v.Persist(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := read(t, s, id); !bytes.Equal(got, body) {
					t.Errorf("%d bytes within %d: %d came back", size, budget, len(got))
				}
				if err := v.Discard(t.Context()); err != nil {
					t.Fatal(err)
				}
				if left := blob.Left(b); left != budget {
					t.Fatalf("%d of %d are left after %d bytes", left, budget, size)
				}
			}
		}
		_, err := blob.Receive(t.Context(), newStore(t, mem.Config{}), iotest.TimeoutReader(bytes.NewReader(content(3*mb))), blob.Options{Size: -1, Budget: b})
		if left := blob.Left(b); err == nil || left != budget {
			t.Errorf("after a reader that failed %d of %d are left (%v)", left, budget, err)
		}
	}
}
