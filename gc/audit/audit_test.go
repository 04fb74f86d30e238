package audit_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/cluster"
	"granary/cluster/task"
	"granary/formats"
	"granary/formats/raw"
	"granary/gc"
	"granary/gc/audit"
	"granary/integration/leak"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/repotest"
)

func TestMain(m *testing.M) { leak.Verify(m) }

// rotten is a blob store whose blobs can go bad.
type rotten struct {
	blob.Store

	mu   sync.Mutex
	bad  map[blob.ID]func([]byte) []byte // guarded by mu: what is read instead
	fail map[blob.ID]error               // guarded by mu
}

func (s *rotten) Open(ctx context.Context, id blob.ID, offset, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	change, fail := s.bad[id], s.fail[id]
	s.mu.Unlock()
	r, err := s.Store.Open(ctx, id, offset, n)
	if err != nil || fail != nil {
		if r != nil {
			err = errors.Join(fail, r.Close())
		}
		return nil, err
	}
	if change == nil {
		return r, nil
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(change(data))), nil
}

func flip(data []byte) []byte {
	data = bytes.Clone(data)
	if len(data) > 7 {
		data[7] ^= 1
	}
	return data
}

type rig struct {
	*repotest.Rig
	t     *testing.T
	blobs *rotten
	tasks *task.Service
	gc    *gc.Collector // nil before the first round
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, blobmem.New(blobmem.Config{}))
}

func newRigOn(t *testing.T, store blob.Store) *rig {
	t.Helper()
	r := &rig{t: t, blobs: &rotten{Store: store, bad: map[blob.ID]func([]byte) []byte{}, fail: map[blob.ID]error{}}}
	r.Rig = repotest.New(t, repotest.Options{
		Blobs:   r.blobs,
		Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} },
	})
	member, err := cluster.Join(t.Context(), cluster.Config{KV: r.KV, Embedded: true})
	if err != nil {
		t.Fatal(err)
	}
	r.tasks, err = task.New(task.Config{
		KV: r.KV, Members: member, Now: r.Clock.Now, Poll: 20 * time.Millisecond,
		Kinds: []task.Kind{audit.New(audit.Config{
			KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Remove: r.RemoveRecord, Restore: r.Restore, Now: r.Clock.Now,
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.tasks.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := member.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// check runs an audit to its end.
func (r *rig) check(p audit.Params) (audit.Result, task.Task) {
	r.t.Helper()
	begun, err := r.tasks.Start(r.t.Context(), audit.Name, p, "")
	if err != nil {
		r.t.Fatal(err)
	}
	for range 3000 {
		got, err := r.tasks.Get(r.t.Context(), begun.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		if got.Status.Over() {
			var out audit.Result
			if got.Status != task.Completed {
				r.t.Fatalf("audit: %+v", got)
			}
			if err := json.Unmarshal(got.Result, &out); err != nil {
				r.t.Fatal(err)
			}
			return out, got
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatal("the audit does not end")
	return audit.Result{}, task.Task{}
}

func body(n int) []byte {
	b := make([]byte, 40<<10)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b) //nolint:errcheck // never fails
	return b
}

func (r *rig) record(c *config.Repository, name string) record.Record {
	r.t.Helper()
	rec, _, err := r.Records.Get(r.t.Context(), kv.Space{Repo: c.ID, Shards: c.Shards}, "d", name, record.Latest)
	if err != nil {
		r.t.Fatalf("record %s: %v", name, err)
	}
	return rec
}

func (r *rig) spoil(id blob.ID) {
	r.blobs.mu.Lock()
	defer r.blobs.mu.Unlock()
	r.blobs.bad[id] = flip
}

func (r *rig) state(rec record.Record) refs.State {
	r.t.Helper()
	item, err := r.KV.Get(r.t.Context(), kv.Reference(rec.Store, hex.EncodeToString(rec.Sums.BLAKE3)), kv.Consistent)
	if err != nil {
		r.t.Fatal(err)
	}
	ref, err := refs.Decode(item)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref.State
}

// findings are those of a result by repository and path.
func findings(r audit.Result) map[string]audit.Finding {
	out := map[string]audit.Finding{}
	for _, f := range r.Findings {
		name := "-"
		if f.Repo != nil {
			name = *f.Repo
		}
		out[name+"/"+f.Path] = f
	}
	return out
}

func (r *rig) wantFound(got audit.Result, rec record.Record, key string, fixed bool) {
	r.t.Helper()
	f, ok := findings(got)[key]
	if !ok || f.Expected != hex.EncodeToString(rec.Sums.BLAKE3) || f.Error == nil || *f.Error == "" || f.Fixed != fixed {
		r.t.Errorf("finding %s = %+v (%v) in %v", key, f, ok, findings(got))
	}
}

func TestCheck(t *testing.T) {
	r := newRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	b := r.Create("b", config.Hosted, "raw", nil)
	for i := range 4 {
		r.Put("a", fmt.Sprintf("d/file-%d", i), body(i))
	}
	r.Put("b", "d/same", body(1)) // the same content as a/d/file-1
	r.Put("a", "d/short", []byte("hello"))
	got, tk := r.check(audit.Params{DryRun: true, Verify: true})
	if got.TotalBlobs != 4 || got.Passed != 4 || len(got.Findings) != 0 || got.BytesRead != 4*40<<10 || !got.DryRun {
		t.Errorf("sound: %+v", got)
	}
	if tk.Progress.CheckedBlobs != 4 || tk.Progress.CheckedArtifacts != 6 || tk.Progress.FailedBlobs != 0 {
		t.Errorf("progress %+v", tk.Progress)
	}

	gone, wrong := r.record(a, "file-0"), r.record(a, "file-1")
	if err := r.blobs.Delete(t.Context(), gone.Blob); err != nil {
		t.Fatal(err)
	}
	r.spoil(wrong.Blob)
	// Without a look at the bytes the missing one alone is found.
	got, _ = r.check(audit.Params{DryRun: true})
	if got.TotalBlobs != 4 || got.Missing != 1 || got.Mismatched != 0 || got.BytesRead != 0 || len(got.Findings) != 1 {
		t.Errorf("by size: %+v", got)
	}
	r.wantFound(got, gone, "a/d/file-0", false)
	if s := r.state(gone); s != refs.Lost {
		t.Errorf("the missing one is %v", s)
	}
	got, _ = r.check(audit.Params{DryRun: true, Verify: true})
	if got.Missing != 1 || got.Mismatched != 1 || got.Passed != 2 || len(got.Findings) != 3 || got.Fixed != 0 {
		t.Errorf("by bytes: %+v", got)
	}
	r.wantFound(got, wrong, "a/d/file-1", false)
	r.wantFound(got, wrong, "b/d/same", false)
	if f := findings(got)["b/d/same"]; f.Actual == nil || *f.Actual == f.Expected || len(*f.Actual) != 64 {
		t.Errorf("finding %+v", f)
	}
	if s := r.state(wrong); s != refs.Lost {
		t.Errorf("the wrong one is %v", s)
	}
	// A dry run has removed nothing.
	r.record(a, "file-0")
	r.record(b, "same")

	got, _ = r.check(audit.Params{DryRun: false, Verify: true})
	if got.Fixed != 3 || got.DryRun {
		t.Errorf("repaired: %+v", got)
	}
	r.Refused(formats.ErrNotFound, "a", "GET", "d/file-0", nil)
	r.Refused(formats.ErrNotFound, "b", "GET", "d/same", nil)
	for i := 2; i < 4; i++ {
		if !bytes.Equal(r.Get("a", fmt.Sprintf("d/file-%d", i)), body(i)) {
			t.Errorf("file-%d has changed", i)
		}
	}
	// They can be uploaded again, which heals the content for everybody.
	r.Put("a", "d/file-1", body(1))
	r.Put("a", "d/file-0", body(0))
	if !bytes.Equal(r.Get("a", "d/file-1"), body(1)) {
		t.Error("what was uploaded again is not what is served")
	}
	if s := r.state(r.record(a, "file-1")); s != refs.Live {
		t.Errorf("what was uploaded again is %v", s)
	}
	got, _ = r.check(audit.Params{DryRun: true, Verify: true})
	if len(got.Findings) != 0 || got.Passed != 4 {
		t.Errorf("after the repair: %+v", got)
	}
}

// spoilInline changes bytes that a record keeps.
func (r *rig) spoilInline(c *config.Repository, name, from, to string) {
	r.t.Helper()
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	item, err := r.KV.Get(r.t.Context(), sp.Record("d", name), kv.Consistent)
	if err == nil {
		spoilt := bytes.Replace(item.Value, []byte(from), []byte(to), 1)
		err = r.KV.PutIf(r.t.Context(), kv.Item{Key: item.Key, Value: spoilt, Version: kv.NewVersion()}, item.Version)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// forgetHistory removes the history of a repository, as its pruner does.
func (r *rig) forgetHistory(c *config.Repository) {
	r.t.Helper()
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	for s := range c.Shards {
		for item, err := range r.KV.Query(r.t.Context(), sp.History(s), "", "") {
			if err == nil {
				err = r.KV.DeleteIf(r.t.Context(), item.Key, item.Version)
			}
			if err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// collect does a round of garbage collection.
func (r *rig) collect() {
	r.t.Helper()
	if r.gc == nil {
		r.gc = gc.New(gc.Config{KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now, Embedded: true})
	}
	round, err := r.gc.Begin(r.t.Context(), gc.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, part := range round.Parts() {
		if err := r.gc.Part(r.t.Context(), false, round.ID, part, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := r.gc.Finish(r.t.Context(), false, round.ID); err != nil {
		r.t.Fatal(err)
	}
}

// Content that is kept in a record is checked with it.
func TestInline(t *testing.T) {
	r := newRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", []byte("hello"))
	r.spoilInline(a, "x", "hello", "jello")
	got, _ := r.check(audit.Params{DryRun: true})
	if got.TotalBlobs != 0 || got.Mismatched != 1 || len(got.Findings) != 1 {
		t.Errorf("inline: %+v", got)
	}
	got, _ = r.check(audit.Params{})
	if got.Fixed != 1 {
		t.Errorf("repaired: %+v", got)
	}
	r.Refused(formats.ErrNotFound, "a", "GET", "d/x", nil)
}

// A cache drops what is bad and fetches it again.
func TestCache(t *testing.T) {
	origin, r := newRig(t), newRig(t)
	origin.Create("origin", config.Hosted, "raw", nil)
	origin.Put("origin", "d/x", body(5))
	up := origin.Serve(t)
	c := r.Cache("c", "raw", up.URL+"/origin", 600)
	if !bytes.Equal(r.Get("c", "d/x"), body(5)) {
		t.Fatal("not fetched")
	}
	r.spoil(r.record(c, "x").Blob)
	got, _ := r.check(audit.Params{Verify: true})
	if got.Mismatched != 1 || got.Fixed != 1 || len(got.Findings) != 1 {
		t.Errorf("cache: %+v", got)
	}
	if !bytes.Equal(r.Get("c", "d/x"), body(5)) {
		t.Error("not fetched again")
	}
}

// A blob that can't be read is reported and not taken for lost, and what the
// past alone names is reported without a repository.
func TestUnreadableAndPast(t *testing.T) {
	r := newRig(t)
	a := r.Create("a", config.Hosted, "raw", nil)
	r.Put("a", "d/x", body(1))
	r.Put("a", "d/y", body(2))
	x, y := r.record(a, "x"), r.record(a, "y")
	r.Put("a", "d/y", body(3))
	r.spoil(y.Blob)
	r.blobs.mu.Lock()
	r.blobs.fail[x.Blob] = errors.New("input/output error")
	r.blobs.mu.Unlock()
	got, _ := r.check(audit.Params{Verify: true})
	if got.Errors != 1 || got.Mismatched != 1 || got.Fixed != 0 {
		t.Errorf("%+v", got)
	}
	r.wantFound(got, x, "a/d/x", false)
	r.wantFound(got, y, "-/default:"+string(y.Blob), false)
	if s := r.state(x); s != refs.Live {
		t.Errorf("what can't be read is %v", s)
	}
}

// Uploads and deletes go on while an audit runs, and it finds nothing wrong.
func TestBesideWriters(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	for i := range 20 {
		r.Put("a", fmt.Sprintf("d/f%d", i), body(i))
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			path := fmt.Sprintf("d/f%d", i%20)
			if _, _, err := r.Send(t.Context(), "a", "PUT", path, body(i%7)); err != nil {
				t.Errorf("put: %v", err)
				return
			}
			if _, _, err := r.Send(t.Context(), "a", "DELETE", path, nil); err != nil {
				t.Errorf("delete: %v", err)
				return
			}
		}
	})
	for range 3 {
		if got, _ := r.check(audit.Params{Verify: true}); len(got.Findings) != 0 || got.Fixed != 0 {
			t.Errorf("found %+v", got)
		}
	}
	close(stop)
	writers.Wait()
}
