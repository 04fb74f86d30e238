package gc_test

import (
	"errors"
	"strings"
	"testing"

	"granary/formats"
	"granary/gc"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/refs"
)

// slow lets rounds pass after an upload has found a place for its content and
// before its record is written.
func slow(t *testing.T, meanwhile func(r *rig)) *rig {
	h := &hook{}
	r := newRigOn(t, func(s kv.Store) kv.Store { h.Store = s; return h })
	h.before = func(key kv.Key) {
		if strings.HasPrefix(key.Partition, "a/") && strings.HasSuffix(key.Sort, "//slow") {
			h.before = nil
			meanwhile(r)
		}
	}
	return r
}

// collect lets the content of an upload that has not written its record be
// condemned and deleted.
func collect(r *rig) {
	for range 2 {
		r.later()
		r.round(gc.Options{})
	}
	r.later()
}

// An upload whose content was collected before its record was written is
// refused, and leaves nothing that can't be read.
func TestUploadThatOutlivesTwoRounds(t *testing.T) {
	r := slow(t, func(r *rig) {
		collect(r)
		r.wantStates("meanwhile", map[refs.State]int{})
	})
	r.Create("files", config.Hosted, "raw", nil)
	_, _, err := r.Send(t.Context(), "files", "PUT", "slow", body(1))
	if !errors.Is(err, refs.ErrGone) {
		t.Fatalf("the upload ended with %v, want ErrGone", err)
	}
	r.Refused(formats.ErrNotFound, "files", "GET", "slow", nil)
	r.Put("files", "slow", body(1))
	r.same("files", "slow", body(1))
}

// What it replaced holds again.
func TestReplacementThatOutlivesTwoRounds(t *testing.T) {
	var h *hook
	r := newRigOn(t, func(s kv.Store) kv.Store { h = &hook{Store: s}; return h })
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "slow", body(2))
	h.before = func(key kv.Key) {
		if strings.HasPrefix(key.Partition, "a/") && strings.HasSuffix(key.Sort, "//slow") {
			h.before = nil
			collect(r)
		}
	}
	if _, _, err := r.Send(t.Context(), "files", "PUT", "slow", body(1)); !errors.Is(err, refs.ErrGone) {
		t.Fatalf("the upload ended with %v, want ErrGone", err)
	}
	r.same("files", "slow", body(2))
}

// An upload that meets a record of the same content, whose writer is about to
// take it back, is acknowledged only if the content is there; and then the
// record stays.
func TestUploadThatMeetsASlowOne(t *testing.T) {
	r := slow(t, func(r *rig) {
		collect(r)
		r.Put("files", "slow", body(1)) // stores the content anew
	})
	files := r.Create("files", config.Hosted, "raw", nil)
	if _, _, err := r.Send(t.Context(), "files", "PUT", "slow", body(1)); err != nil && !errors.Is(err, refs.ErrGone) {
		t.Fatal(err)
	}
	r.same("files", "slow", body(1))
	rec := r.recordOf(files, "", "slow")
	ref, _, err := r.reference(rec.Sums.BLAKE3)
	if err != nil || ref.Blob != rec.Blob {
		t.Errorf("the record names %s, the reference %v, %v", rec.Blob, ref, err)
	}
	for range 3 {
		r.later()
		r.round(gc.Options{Asked: true})
	}
	r.same("files", "slow", body(1))
}
