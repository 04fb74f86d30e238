package formattest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/config"
	"granary/repo/refs"
	"granary/repo/repotest"
)

// rot is what becomes of the bytes of a blob.
type rot string

const (
	flipped rot = "flipped" // one bit is another
	cutOff  rot = "cut off"
	gone    rot = "gone"
)

// rotten is a blob store whose blobs go bad, also while something is read in
// the background.
type rotten struct {
	*blobmem.Store
	bad sync.Map // of blob.ID: rot
}

// rotted tells what became of a blob, "" if nothing.
func (s *rotten) rotted(id blob.ID) rot {
	how, _ := s.bad.Load(id)
	is, _ := how.(rot)
	return is
}

// spoil lets every blob that is there go bad.
func (s *rotten) spoil(t *testing.T, how rot) {
	t.Helper()
	n := 0
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		s.bad.Store(info.ID, how)
		n++
	}
	if n == 0 {
		t.Fatal("there is no blob to go bad")
	}
}

func (s *rotten) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	info, err := s.Store.Stat(ctx, id)
	switch s.rotted(id) {
	case gone:
		return blob.Info{}, fmt.Errorf("blob %s: %w", id, blob.ErrNotFound)
	case cutOff:
		info.Size /= 2
	case flipped:
	}
	return info, err
}

func (s *rotten) Open(ctx context.Context, id blob.ID, offset, n int64) (io.ReadCloser, error) {
	how := s.rotted(id)
	if how == gone {
		return nil, fmt.Errorf("blob %s: %w", id, blob.ErrNotFound)
	}
	r, err := s.Store.Open(ctx, id, 0, -1)
	if err != nil || how == "" {
		if err == nil {
			err = r.Close()
		}
		if err != nil {
			return nil, err
		}
		return s.Store.Open(ctx, id, offset, n)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if how == cutOff {
		b = b[:len(b)/2]
	} else {
		b[len(b)/2] ^= 1
	}
	b = b[min(offset, int64(len(b))):]
	if n >= 0 && n < int64(len(b)) {
		b = b[:n]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// inBlobs is a key-value store that keeps hardly any content.
type inBlobs struct{ kv.Store }

func (s inBlobs) Traits() kv.Traits {
	t := kv.TraitsOf(s.Store)
	t.Inline = 128
	return t
}

// goneBad: bytes that were found wrong are never served, neither as a file nor
// as part of a document; a cache fetches again; and an upload of the same content
// brings them back for everybody.
func (s Sample) goneBad(t *testing.T) {
	blobs := &rotten{Store: blobmem.New(blobmem.Config{Report: t.Errorf})}
	r := s.rig(t, repotest.Options{
		KV: inBlobs{mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})}, Blobs: blobs,
	})
	r.Create("h", config.Hosted, s.name(), nil)
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/h"+s.Upstream, 600)
	s.fill(t, r, "h", 0, 1)
	s.wants(t, r, "h", 0, 1)
	s.wants(t, r, "c", 0, 1)
	good := map[string][]byte{}
	for _, f := range append(s.Files(0), s.Files(1)...) {
		good["h/"+f], good["c/"+f] = r.Get("h", f), r.Get("c", f)
	}
	store, err := r.Registry.StoreID(t.Context(), "store", "default")
	if err != nil {
		t.Fatal(err)
	}
	quarantine(t, r, blobs, store)
	refused := 0
	for _, f := range append(s.Files(0), s.Files(1)...) {
		_, b, err := r.Send(t.Context(), "h", "GET", f, nil)
		switch {
		case errors.Is(err, formats.ErrCorrupt):
			refused++
		case err != nil || !bytes.Equal(b, good["h/"+f]):
			t.Errorf("%s, whose bytes went bad, is answered with %d bytes, %v", f, len(b), err)
		}
	}
	if refused < 2 {
		t.Errorf("%d files were refused", refused)
	}
	s.fill(t, r, "h", 0, 1)
	for f, want := range good {
		if f[0] == 'h' && !bytes.Equal(r.Get("h", f[2:]), want) {
			t.Errorf("%s uploaded again is not what it was", f)
		}
	}
	s.wants(t, r, "h", 0, 1)

	quarantine(t, r, blobs, store)
	s.fill(t, r, "h", 0, 1)
	for f, want := range good {
		if f[0] == 'c' && !bytes.Equal(r.Get("c", f[2:]), want) {
			t.Errorf("%s fetched again is not what it was", f)
		}
	}
	s.wants(t, r, "c", 0, 1)
}

// quarantine spoils every blob, and says so as an audit does.
func quarantine(t *testing.T, r *repotest.Rig, blobs *rotten, store string) {
	t.Helper()
	if err := r.Registry.SuspectStore(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	n := 0
	for p := range 256 {
		for item, err := range r.KV.Query(t.Context(), kv.ReferencePartition(store, fmt.Sprintf("%02x", p)), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			ref, err := refs.Decode(item)
			hash, err2 := hex.DecodeString(item.Sort)
			if err = errors.Join(err, err2); err == nil {
				blobs.bad.Store(ref.Blob, flipped)
				err = r.Refs.MarkLost(t.Context(), store, hash, ref.Blob)
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if n == 0 {
		t.Fatal("there is no blob to go bad")
	}
}

// rots: what nobody has found yet. Who asks a cache for bytes that have gone bad
// on the disk gets what the upstream has, at once, and an error if that can't be
// asked; never the bad ones. What lies whole is not fetched again.
func (s Sample) rots(t *testing.T) {
	origin := s.rig(t, repotest.Options{})
	origin.Create("h", config.Hosted, s.name(), nil)
	up := origin.Serve(t)
	s.fill(t, origin, "h", 0, 1)
	blobs := &rotten{Store: blobmem.New(blobmem.Config{Report: t.Errorf})}
	edge := s.rig(t, repotest.Options{
		KV: inBlobs{mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})}, Blobs: blobs,
	})
	edge.Cache("c", s.name(), up.URL+"/h"+s.Upstream, -1)
	edge.Group("g", s.name(), "c")
	s.wants(t, edge, "c", 0, 1)
	good := map[string][]byte{}
	for _, f := range slices.Concat(s.First, s.Docs, s.Files(0), s.Files(1)) {
		good[f] = edge.Get("c", f)
	}
	again := func(how string) {
		t.Helper()
		for f, want := range good {
			if got := edge.Get("c", f); !bytes.Equal(got, want) {
				t.Errorf("%s: %s is not what it was", how, f)
			}
		}
		s.wants(t, edge, "c", 0, 1)
		s.wants(t, edge, "g", 0, 1)
	}
	for _, how := range []rot{flipped, cutOff, gone} {
		blobs.spoil(t, how) // first: what reads in the background meanwhile began before
		edge.Clock.Advance(24 * time.Hour)
		again(string(how))
		asked := int64(0)
		for range 20 { // what is read in the background is found out in its own time
			before := up.Requests()
			edge.Clock.Advance(24 * time.Hour)
			again("after it was " + string(how))
			if asked = up.Requests() - before; asked == 0 {
				break
			}
		}
		if asked != 0 {
			t.Errorf("what was fetched again since it was %s is fetched again and again", how)
		}
	}
	up.Kill()
	blobs.spoil(t, flipped)
	edge.Clock.Advance(24 * time.Hour)
	failed := 0
	for f, want := range good {
		_, got, err := edge.Send(t.Context(), "c", "GET", f, nil)
		switch {
		case err != nil && !errors.Is(err, formats.ErrNotFound):
			failed++
		case err != nil || !bytes.Equal(got, want):
			t.Errorf("%s is answered with %d bytes, %v while the upstream is down", f, len(got), err)
		}
	}
	if failed == 0 {
		t.Error("nothing fails, although what went bad can't be fetched")
	}
}
