package s3

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"granary/blob"
)

func extend(t *testing.T, s *Store, id blob.ID, upload string, number int, content []byte) []blob.Piece {
	t.Helper()
	w, err := s.Extend(t.Context(), id, upload, number, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	pieces := w.Pieces()
	if want := s.Pieces(number, int64(len(content))); len(pieces) != want {
		t.Errorf("%d bytes from number %d are %d pieces, want %d", len(content), number, len(pieces), want)
	}
	n := int64(0)
	for i, p := range pieces {
		if n += p.Size; p.Number != number+i || p.Size < s.LeastPiece() && i < len(pieces)-1 {
			t.Errorf("piece %d is %+v", i, p)
		}
	}
	if n != int64(len(content)) {
		t.Errorf("the pieces have %d bytes, want %d", n, len(content))
	}
	return pieces
}

// A blob is made of what several writers sent, who know of each other only what
// a session would keep.
func TestExtend(t *testing.T) {
	cfg := configOf(t)
	const mib = 1 << 20
	for _, lengths := range [][]int{{5 * mib}, {5 * mib, 5 * mib, 7}, {8 * mib, 12*mib + 1, 13 * mib, 14 * mib, 30 * mib, 100}} {
		id := newID(t)
		upload, err := open1(t, cfg).Begin(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var pieces []blob.Piece
		var all []byte
		next := 1
		for i, n := range lengths {
			s := open1(t, cfg)
			content := bytes.Repeat([]byte{byte(i + 1)}, n)
			got := extend(t, s, id, upload, next, content)
			if i == 0 {
				// What nobody names is not in the blob.
				extend(t, s, id, upload, next+s.Pieces(next, int64(n)), bytes.Repeat([]byte{99}, 6*mib))
				next++
			}
			next += len(got) + 1
			pieces, all = append(pieces, got...), append(all, content...)
		}
		s := open1(t, cfg)
		if _, err := s.Stat(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("before it is whole: %v", err)
		}
		for range 2 { // whose first answer was lost does it again
			if err := s.Assemble(t.Context(), id, upload, pieces); err != nil {
				t.Fatal(err)
			}
		}
		if got := readAll(t, s, id); !bytes.Equal(got, all) {
			t.Errorf("%v: %d bytes came back, want %d", lengths, len(got), len(all))
		}
		if err := s.Assemble(t.Context(), id, upload, pieces[:0]); err == nil {
			t.Error("what is there is not what these pieces make, and that is no error")
		}
		if n := uploads(t, s); n != 0 {
			t.Errorf("%d uploads are left", n)
		}
	}
}

// Who gives up leaves nothing; a writer that does leaves the blob as it was.
func TestExtendGivenUp(t *testing.T) {
	s := open1(t, configOf(t))
	id := newID(t)
	upload, err := s.Begin(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	pieces := extend(t, s, id, upload, 1, make([]byte, 6<<20))
	w, err := s.Extend(t.Context(), id, upload, 2, 20<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 10<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); !errors.Is(err, blob.ErrLength) {
		t.Errorf("Commit of half: %v", err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if n := uploads(t, s); n != 1 {
		t.Errorf("%d uploads after a writer gave up, want 1", n)
	}
	if _, err := s.Extend(t.Context(), id, upload, maxParts+1, 6<<20); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("beyond the last number: %v", err)
	}
	for range 2 {
		if err := s.Drop(t.Context(), id, upload); err != nil {
			t.Error(err)
		}
	}
	if n := uploads(t, s); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
	if err := s.Assemble(t.Context(), id, upload, pieces); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Assemble of what was dropped: %v", err)
	}
}

func readAll(t *testing.T, s *Store, id blob.ID) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), id, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
