package sessions_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/sessions"
)

type rig struct {
	*sessions.Store
	kv  kv.Store
	now time.Time
	sp  kv.Space
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), sp: kv.Space{Repo: "r", Shards: 4}}
	r.kv = mem.New(mem.Options{Now: func() time.Time { return r.now }, Misuse: func(err error) { t.Error(err) }})
	r.Store = &sessions.Store{KV: r.kv, Now: func() time.Time { return r.now }}
	return r
}

func part(n int) sessions.Part {
	return sessions.Part{Size: int64(n), Store: "s", Blob: "b", Sums: digest.Sums{BLAKE3: fmt.Appendf(nil, "%032d", n)}}
}

// count returns how many items a session has.
func (r *rig) count(t *testing.T, id string) int {
	t.Helper()
	n := 0
	for v, err := range r.Scan(t.Context(), r.sp, id[:2]) {
		if err != nil {
			t.Fatal(err)
		}
		if v.ID == id {
			n++
		}
	}
	return n
}

func TestPartsAreChained(t *testing.T) {
	r := newRig(t)
	id := uuid.NewString()
	s, v, err := r.Create(t.Context(), r.sp, id, "app/blobs")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 12; n++ {
		// Another request appends at the same offset and comes second.
		other, otherVersion := s, v
		if s, v, err = r.Append(t.Context(), r.sp, id, s, v, part(n), fmt.Appendf(nil, "state %d", n)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Append(t.Context(), r.sp, id, other, otherVersion, part(100), nil); !errors.Is(err, formats.ErrRaced) {
			t.Fatalf("the second of two parts: %v", err)
		}
	}
	got, _, err := r.Get(t.Context(), r.sp, id)
	if err != nil || got.Offset != 78 || got.Parts != 12 || string(got.Hash) != "state 12" {
		t.Fatalf("%+v, %v", got, err)
	}
	parts, err := r.Parts(t.Context(), r.sp, id, &got)
	if err != nil || len(parts) != 12 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, p := range parts {
		if p.Size != int64(i+1) {
			t.Errorf("part %d has %d bytes", i+1, p.Size)
		}
	}
	if err := r.Done(t.Context(), r.sp, id, got, v, "sha256:x"); err != nil {
		t.Fatal(err)
	}
	if n := r.count(t, id); n != 1 {
		t.Errorf("%d items are left of a session that is done", n)
	}
	if got, _, err := r.Get(t.Context(), r.sp, id); err != nil || got.State != sessions.Done || got.Name != "sha256:x" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A crash between a part and the session leaves a part that counts for nothing.
func TestLeftOverPart(t *testing.T) {
	r := newRig(t)
	id := uuid.NewString()
	s, v, err := r.Create(t.Context(), r.sp, id, "blobs")
	if err != nil {
		t.Fatal(err)
	}
	if s, v, err = r.Append(t.Context(), r.sp, id, s, v, part(1), nil); err != nil {
		t.Fatal(err)
	}
	lost := part(99)
	lost.Nonce, lost.Previous = 7, s.Last
	if _, err := (kv.Table[sessions.Part]{Store: r.kv}).Create(t.Context(), r.sp.UploadPart(id, 2, lost.Nonce), lost); err != nil {
		t.Fatal(err)
	}
	if s, v, err = r.Append(t.Context(), r.sp, id, s, v, part(2), nil); err != nil {
		t.Fatal(err)
	}
	parts, err := r.Parts(t.Context(), r.sp, id, &s)
	if err != nil || len(parts) != 2 || parts[1].Size != 2 {
		t.Fatalf("%+v, %v", parts, err)
	}
	if err := r.Remove(t.Context(), r.sp, id, v); err != nil {
		t.Fatal(err)
	}
	if n := r.count(t, id); n != 0 {
		t.Errorf("%d items are left", n)
	}
	if err := r.Remove(t.Context(), r.sp, id, v); !errors.Is(err, formats.ErrRaced) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestSweep(t *testing.T) {
	r := newRig(t)
	ids := map[string]string{}
	for _, name := range []string{"old", "slow", "new"} {
		id := "ab" + uuid.NewString()[2:]
		ids[name] = id
		if name == "new" {
			r.now = r.now.Add(23 * time.Hour)
		}
		s, v, err := r.Create(t.Context(), r.sp, id, "blobs")
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if s, v, err = r.Append(t.Context(), r.sp, id, s, v, part(n+1), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The slow one goes on before it is a day old.
	s, v, err := r.Get(t.Context(), r.sp, ids["slow"])
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Append(t.Context(), r.sp, ids["slow"], s, v, part(4), nil); err != nil {
		t.Fatal(err)
	}
	orphan := r.sp.UploadPart("ab"+uuid.NewString()[2:], 2, 1)
	if _, err := (kv.Table[sessions.Part]{Store: r.kv}).Create(t.Context(), orphan, part(1)); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(2 * time.Hour)
	n, err := r.Sweep(t.Context(), r.sp, "ab", 24*time.Hour, nil)
	if err != nil || n != 1 {
		t.Errorf("%d swept, %v", n, err)
	}
	for name, want := range map[string]int{"old": 0, "slow": 4, "new": 3} {
		if got := r.count(t, ids[name]); got != want {
			t.Errorf("%s: %d items are left, want %d", name, got, want)
		}
	}
	if _, err := r.kv.Get(t.Context(), orphan); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("a part without a session: %v", err)
	}
}
