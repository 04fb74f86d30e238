package repo

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b) //nolint:errcheck // never fails
	return b
}

// A single reader that is slower than the writer still sees every byte: the
// writer waits for it.
func TestTailOneReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := randomBytes(100_000)
		tl := newTail(1000)
		r := tl.reader(t.Context(), 0)
		go func() {
			for rest := want; len(rest) > 0; rest = rest[min(777, len(rest)):] {
				if err := tl.write(t.Context(), rest[:min(777, len(rest))]); err != nil {
					t.Error(err)
				}
			}
			tl.end(nil)
		}()
		var got bytes.Buffer
		buf := make([]byte, 333)
		for {
			time.Sleep(time.Millisecond)
			n, err := r.Read(buf)
			got.Write(buf[:n])
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Error("the reader saw other bytes than were written")
		}
	})
}

// A reader that stands still does not hold the fill up for ever, and is told
// that it has fallen behind.
func TestTailStandingReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := newTail(1000)
		r := tl.reader(t.Context(), 0)
		start := time.Now()
		for range 100 {
			if err := tl.write(t.Context(), make([]byte, 500)); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(start); waited != tailPatience {
			t.Errorf("the writer waited %v for a reader that stands still, want %v once", waited, tailPatience)
		}
		tl.end(nil)
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errBehind) {
			t.Errorf("read = %v, want errBehind", err)
		}
	})
}

// Several readers at their own pace get the bytes or are told that they are
// behind; an error of the fill reaches all.
func TestTailManyReaders(t *testing.T) {
	broken := errors.New("upstream broke off")
	want := randomBytes(1 << 20)
	tl := newTail(64 << 10)
	var wg sync.WaitGroup
	for i := range 8 {
		r := tl.reader(t.Context(), int64(i*1000))
		wg.Go(func() {
			defer r.Close() //nolint:errcheck // never fails
			got, err := io.ReadAll(r)
			if !bytes.Equal(got, want[i*1000:i*1000+len(got)]) {
				t.Errorf("reader %d saw other bytes than were written", i)
			}
			if !errors.Is(err, errBehind) && !errors.Is(err, broken) {
				t.Errorf("reader %d ended with %v", i, err)
			}
		})
	}
	for rest := want; len(rest) > 0; rest = rest[min(9999, len(rest)):] {
		if err := tl.write(t.Context(), rest[:min(9999, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	tl.end(broken)
	wg.Wait()
}
