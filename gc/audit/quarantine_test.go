package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"granary/blob"
	"granary/blob/fs"
	"granary/formats"
	"granary/gc/audit"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/refs"
)

// newFileRig is a rig on a file store, whose blobs are spoiled where they lie.
func newFileRig(t *testing.T) (r *rig, path func(blob.ID) string) {
	t.Helper()
	root := t.TempDir()
	store, err := fs.Open(fs.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return newRigOn(t, store), func(id blob.ID) string { return filepath.Join(root, filepath.FromSlash(id.Path())) }
}

func (r *rig) suspect() bool {
	r.t.Helper()
	s, err := r.Registry.Store(r.t.Context(), "default")
	if err != nil {
		r.t.Fatal(err)
	}
	return !s.Suspect.IsZero()
}

// Bad bytes are not served once an audit has seen them, dry run or not: neither
// to the record that names the blob by its id, nor as what it was, nor in ranges.
// Uploaded again they are served, and when no bad blob is left nobody asks the
// references any more.
func TestQuarantine(t *testing.T) {
	for _, dry := range []bool{true, false} {
		r := newRig(t)
		a := r.Create("a", config.Hosted, "raw", nil)
		r.Put("a", "d/x", body(9))
		r.Put("a", "d/same", body(9))
		r.Put("a", "d/good", body(8))
		if _, err := r.Snapshot(t.Context(), "a", "then", "tester"); err != nil {
			t.Fatal(err)
		}
		rec := r.record(a, "x")
		r.spoil(rec.Blob)
		if bytes.Equal(r.Get("a", "d/x"), body(9)) {
			t.Fatal("the test spoils nothing")
		}
		r.check(audit.Params{DryRun: dry, Verify: true})
		// Before anybody reads: who finds bytes gone makes it so again.
		if got := r.suspect(); got != dry {
			t.Errorf("dry run %v: the store is suspect: %v", dry, got)
		}
		for _, where := range []string{"a", "a@then"} {
			_, b, err := r.Send(t.Context(), where, "GET", "d/x", nil)
			if dry || where != "a" {
				if !strings.Contains(errText(err), formats.ErrCorrupt.Error()) || b != nil {
					t.Errorf("dry run %v: %s/d/x is answered with %d bytes, %v", dry, where, len(b), err)
				}
			} else if !strings.Contains(errText(err), formats.ErrNotFound.Error()) {
				t.Errorf("repaired: %s/d/x is answered with %d bytes, %v", where, len(b), err)
			}
		}
		if !bytes.Equal(r.Get("a", "d/good"), body(8)) {
			t.Error("what is good is not served")
		}
		// Who found bytes gone says so in the background; the audit below is about
		// what was said before it.
		for began := time.Now(); !r.suspect(); time.Sleep(time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatal("nobody suspects the store whose bytes are gone")
			}
		}
		// An upload of the content takes the bad bytes for nothing, and heals every
		// record of it.
		r.Put("a", "d/y", body(9))
		for _, path := range []string{"a/d/y", "a@then/d/x", "a@then/d/same"} {
			where, name, _ := strings.Cut(path, "/")
			if !bytes.Equal(r.Get(where, name), body(9)) {
				t.Errorf("dry run %v: %s is not healed", dry, path)
			}
		}
		if _, err := r.blobs.Stat(t.Context(), rec.Blob); err == nil {
			t.Error("the bad blob is there still")
		}
		r.check(audit.Params{DryRun: true, Verify: false})
		if r.suspect() {
			t.Error("the store stays suspect without a bad blob")
		}
		if !bytes.Equal(r.Get("a@then", "d/x"), body(9)) {
			t.Error("bad bytes are served again")
		}
	}
}

// What is gone is known to be, by whoever looks, audit after audit: who is about
// to upload it would send nothing otherwise.
func TestMissingStaysKnown(t *testing.T) {
	r, path := newFileRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", body(1))
	if err := os.Remove(path(r.record(a, "x").Blob)); err != nil {
		t.Fatal(err)
	}
	lost := func() bool {
		t.Helper()
		c, err := r.Open("a").Read(t.Context(), formats.Op{Kind: formats.File, Scope: "d", Name: "x"}, repo.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if c.Lost == nil {
			return false
		}
		is, err := c.Lost(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	for i := range 3 {
		if r.check(audit.Params{DryRun: true, Verify: i == 1}); !lost() {
			t.Errorf("after audit %d it is there", i+1)
		}
	}
	r.Put("a", "d/x", body(1))
	if lost() {
		t.Error("the upload has brought nothing")
	}
	if r.check(audit.Params{DryRun: true}); r.suspect() {
		t.Error("the store stays suspect without anything lost")
	}
	// Where the record goes with the bytes there is nothing to know.
	if err := os.Remove(path(r.record(a, "x").Blob)); err != nil {
		t.Fatal(err)
	}
	r.check(audit.Params{Verify: true})
	r.Refused(formats.ErrNotFound, "a", "GET", "d/x", nil)
	if r.suspect() {
		t.Error("the store is suspect of what nothing names")
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// On a file store: bits that flipped on the disk. Somebody puts the file back,
// and the next audit that reads it serves it again.
func TestPutBack(t *testing.T) {
	r, path := newFileRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", body(1))
	rec := r.record(a, "x")
	name := path(rec.Blob)
	good, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(good, body(1)) {
		t.Fatalf("the blob is %d bytes, %v", len(good), err)
	}
	write := func(b []byte) {
		t.Helper()
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(flip(good))
	got, _ := r.check(audit.Params{DryRun: true, Verify: true})
	if got.Mismatched != 1 || len(got.Findings) != 1 {
		t.Errorf("found %+v", got)
	}
	r.Refused(formats.ErrCorrupt, "a", "GET", "d/x", nil)
	// A look at sizes alone learns nothing new.
	if got, _ = r.check(audit.Params{DryRun: true}); got.Missing != 1 || !r.suspect() {
		t.Errorf("by size: %+v, suspect %v", got, r.suspect())
	}
	r.Refused(formats.ErrCorrupt, "a", "GET", "d/x", nil)
	write(good)
	if got, _ = r.check(audit.Params{DryRun: true, Verify: true}); len(got.Findings) != 0 || got.Passed != 1 {
		t.Errorf("put back: %+v", got)
	}
	if !bytes.Equal(r.Get("a", "d/x"), body(1)) || r.state(rec) != refs.Live || r.suspect() {
		t.Errorf("put back, it is %v, and the store suspect: %v", r.state(rec), r.suspect())
	}
	// The record still names the old blob, which is gone.
	if _, err := os.Stat(name); err == nil {
		t.Error("the old blob is there still")
	}
}

// An upload to a file store heals what went bad there.
func TestUploadHeals(t *testing.T) {
	r, path := newFileRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", body(1))
	name := path(r.record(a, "x").Blob)
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, flip(body(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.check(audit.Params{DryRun: true, Verify: true})
	r.Refused(formats.ErrCorrupt, "a", "GET", "d/x", nil)
	r.Put("a", "e/y", body(1))
	if !bytes.Equal(r.Get("a", "d/x"), body(1)) || !bytes.Equal(r.Get("a", "e/y"), body(1)) {
		t.Error("the upload has not healed the other record")
	}
}

// A cache fetches again what was found bad, also after a dry run.
func TestCacheAfterDryRun(t *testing.T) {
	origin, r := newRig(t), newRig(t)
	origin.Create("origin", config.Hosted, "raw", nil)
	origin.Put("origin", "d/x", body(5))
	up := origin.Serve(t)
	c := r.Cache("c", "raw", up.URL+"/origin", 600)
	r.Get("c", "d/x")
	r.spoil(r.record(c, "x").Blob)
	r.check(audit.Params{DryRun: true, Verify: true})
	before := up.Requests()
	if !bytes.Equal(r.Get("c", "d/x"), body(5)) || up.Requests() == before {
		t.Error("not fetched again")
	}
	// Where the upstream can't be asked, there is an error and no bad bytes.
	r.spoil(r.record(c, "x").Blob)
	r.check(audit.Params{DryRun: true, Verify: true})
	up.Kill()
	if _, b, err := r.Send(t.Context(), "c", "GET", "d/x", nil); err == nil {
		t.Errorf("without the upstream %d bytes are served", len(b))
	}
}

// Bad bytes in a record are never served, found or not.
func TestBadInline(t *testing.T) {
	r := newRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", []byte("hello"))
	r.spoilInline(a, "x", "hello", "jello")
	r.Refused(formats.ErrCorrupt, "a", "GET", "d/x", nil)
}

// Lost content that nothing names any more stays lost until it is deleted: no
// upload may take the bad bytes for its own meanwhile.
func TestSweptWhileLost(t *testing.T) {
	r := newRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", body(1))
	rec := r.record(a, "x")
	r.spoil(rec.Blob)
	r.check(audit.Params{DryRun: true, Verify: true})
	if _, _, err := r.Send(t.Context(), "a", "DELETE", "d/x", nil); err != nil {
		t.Fatal(err)
	}
	r.forgetHistory(a)
	r.Clock.Advance(2 * time.Hour)
	r.collect()
	if s := r.state(rec); s != refs.Lost {
		t.Errorf("after a round it is %v", s)
	}
	r.Put("a", "d/again", body(1))
	if !bytes.Equal(r.Get("a", "d/again"), body(1)) {
		t.Error("an upload took the bad bytes")
	}
	// And without an upload it goes like everything else.
	r.Put("a", "d/z", body(2))
	z := r.record(a, "z")
	r.spoil(z.Blob)
	r.check(audit.Params{DryRun: true, Verify: true})
	if _, _, err := r.Send(t.Context(), "a", "DELETE", "d/z", nil); err != nil {
		t.Fatal(err)
	}
	r.forgetHistory(a)
	for range 2 {
		r.Clock.Advance(2 * time.Hour)
		r.collect()
	}
	if _, err := r.blobs.Stat(t.Context(), z.Blob); err == nil {
		t.Error("lost content is never deleted")
	}
}
