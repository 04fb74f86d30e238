package mem_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"granary/blob"
	"granary/blob/blobtest"
	"granary/blob/mem"
)

func TestStore(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store {
		s := mem.New(mem.Config{Report: t.Errorf})
		t.Cleanup(s.Check)
		return s
	})
}

// The referee sees what other stores would forgive.
func TestReferee(t *testing.T) {
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, c := range []struct {
		name, want string
		do         func(s *mem.Store)
	}{
		{"nothing wrong", "", func(s *mem.Store) { commit(t, s, id) }},
		{"writer left open", "never ended", func(s *mem.Store) { create(t, s, id) }},
		{"reader left open", "never ended", func(s *mem.Store) { commit(t, s, id); open(t, s, id) }},
		{"read after close", "after close", func(s *mem.Store) {
			commit(t, s, id)
			r := open(t, s, id)
			r.Close()
			r.Read(make([]byte, 1))
		}},
		{"write after commit", "after its end", func(s *mem.Store) { commit(t, s, id).Write([]byte("x")) }},
		{"commit twice", "after its end", func(s *mem.Store) { commit(t, s, id).Commit(t.Context()) }},
	} {
		var got []string
		s := mem.New(mem.Config{Report: func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }})
		c.do(s)
		s.Check()
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: reported %q, want %q", c.name, got, c.want)
		}
	}
}

func create(t *testing.T, s *mem.Store, id blob.ID) blob.Writer {
	w, err := s.Create(t.Context(), id, -1)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func commit(t *testing.T, s *mem.Store, id blob.ID) blob.Writer {
	w := create(t, s, id)
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func open(t *testing.T, s *mem.Store, id blob.ID) io.ReadCloser {
	r, err := s.Open(t.Context(), id, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCalls(t *testing.T) {
	s := mem.New(mem.Config{})
	commit(t, s, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	s.Stat(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAW")
	if c := s.Calls(); c[mem.Create] != 1 || c[mem.Commit] != 1 || c[mem.Stat] != 1 || c[mem.Write] != 0 {
		t.Errorf("Calls = %v", c)
	}
}

// Stores without batch delete or presigned URLs are used without.
func TestOptional(t *testing.T) {
	s := mem.New(mem.Config{Report: t.Errorf})
	ids := []blob.ID{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAW"}
	for _, id := range ids {
		commit(t, s, id)
	}
	if url, ok, err := blob.Presign(t.Context(), s, ids[0], time.Minute, blob.Header{}); ok || err != nil || url != "" {
		t.Errorf("Presign = %q, %v, %v", url, ok, err)
	}
	if err := blob.DeleteMany(t.Context(), s, append(ids, "bad")); !errors.Is(err, blob.ErrInvalidID) {
		t.Errorf("DeleteMany with an invalid id = %v", err)
	}
	for _, id := range ids {
		if _, err := s.Stat(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Stat after DeleteMany = %v", err)
		}
	}
}
