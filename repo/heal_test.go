package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/cluster"
	"granary/formats"
	"granary/formats/all"
	"granary/formats/formattest"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

const module = "corp.example/lib"

func goUpload(t testing.TB, version string) (body []byte, header []string) {
	t.Helper()
	zip := formattest.Module(t, module, version, map[string]string{"go.mod": "module " + module + "\n"})
	h, body := formattest.Form(t,
		formattest.Part{Name: "module", Content: module}, formattest.Part{Name: "version", Content: version},
		formattest.Part{Name: "zip", File: "m.zip", Content: string(zip)})
	return body, []string{"Content-Type", h.Get("Content-Type")}
}

func publish(t testing.TB, r *repotest.Rig, repository, version string) error {
	t.Helper()
	body, header := goUpload(t, version)
	_, _, err := r.Send(t.Context(), repository, http.MethodPost, "upload", body, header...)
	return err
}

var errCrash = errors.New("the process died here")

// crashing is a store in which nothing is written any more once a stamp was to
// be: what a process leaves that dies between a record and its stamp.
type crashing struct {
	kv.Store
	mu   sync.Mutex
	dead bool // guarded by mu
	arm  bool // guarded by mu
}

func (c *crashing) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	c.mu.Lock()
	if c.arm && strings.HasSuffix(item.Sort, "//stamp") {
		c.dead = true
	}
	dead := c.dead
	c.mu.Unlock()
	if dead {
		return errCrash
	}
	return c.Store.PutIf(ctx, item, old)
}

func (c *crashing) Traits() kv.Traits { return kv.TraitsOf(c.Store) }

func (c *crashing) set(arm, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arm, c.dead = arm, dead
}

// A crash between a record and its stamp: the client heard an error. Its retry
// completes the publish; without one, a scope that never had a stamp heals at
// the next read, and one that had within ten minutes of reads.
func TestCrashBeforeStamp(t *testing.T) {
	var store *crashing
	r := repotest.New(t, repotest.Options{Formats: all.Formats, Wrap: func(s kv.Store) kv.Store {
		store = &crashing{Store: s}
		return store
	}})
	r.Create("never", config.Hosted, "golang", nil)
	r.Create("had", config.Hosted, "golang", nil)
	list := module + "/@v/list"

	store.set(true, false)
	if err := publish(t, r, "never", "v1.0.0"); !errors.Is(err, errCrash) {
		t.Fatalf("the crash was not seen: %v", err)
	}
	store.set(false, false)
	if got := string(r.Get("never", list)); got != "v1.0.0\n" {
		t.Errorf("the list of a scope whose first stamp was lost is %q", got)
	}

	if err := publish(t, r, "had", "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Get("had", list)); got != "v1.0.0\n" {
		t.Fatalf("list = %q", got)
	}
	store.set(true, false)
	if err := publish(t, r, "had", "v1.1.0"); !errors.Is(err, errCrash) {
		t.Fatalf("the crash was not seen: %v", err)
	}
	store.set(false, false)
	r.Clock.Advance(11 * time.Minute)
	eventually(t, func() bool { return string(r.Get("had", list)) == "v1.0.0\nv1.1.0\n" })

	store.set(true, false)
	if err := publish(t, r, "had", "v1.2.0"); !errors.Is(err, errCrash) {
		t.Fatalf("the crash was not seen: %v", err)
	}
	store.set(false, false)
	if err := publish(t, r, "had", "v1.2.0"); err != nil {
		t.Errorf("the retry: %v", err)
	}
	if got := string(r.Get("had", list)); got != "v1.0.0\nv1.1.0\nv1.2.0\n" {
		t.Errorf("after the retry the list is %q", got)
	}
}

// Two nodes asked for the same cold object at once ask the upstream once.
func TestFillAcrossNodes(t *testing.T) {
	shared := mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})
	join := func() *cluster.Node {
		n, err := cluster.Join(t.Context(), cluster.Config{KV: shared})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	a := repotest.New(t, repotest.Options{Formats: all.Formats, KV: shared, Leases: join()})
	b := repotest.New(t, repotest.Options{Formats: all.Formats, KV: shared, Leases: join(), Blobs: a.Blobs})
	a.Create("origin", config.Hosted, "raw", nil)
	up := a.Serve(t)
	a.Cache("c", "raw", up.URL+"/origin", 600)
	if err := b.Registry.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := filled(200_000, 'f')
	a.Put("origin", "f", body)
	up.Misbehave(func(http.ResponseWriter, *http.Request) bool { time.Sleep(300 * time.Millisecond); return false })
	var wg sync.WaitGroup
	began := time.Now()
	for i := range 40 {
		wg.Go(func() {
			_, got, err := []*repotest.Rig{a, b}[i%2].Send(t.Context(), "c", "GET", "f", nil)
			if err != nil || len(got) != len(body) {
				t.Errorf("received %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	// After five seconds without an end a node fetches for itself.
	if n, took := up.Requests(), time.Since(began); n != 1 && (n != 2 || took < 5*time.Second) {
		t.Errorf("40 clients on two nodes made %d requests to the upstream within %v", n, took)
	}
}

// A file that documents promise a digest of is passed on while it arrives, but
// never to its end if the digest is another.
func TestPromisedDigestOfLongFile(t *testing.T) {
	want := filled(6<<20, 'w')
	f := promising{sum: want}
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{f} }})
	r.Create("origin", config.Hosted, f.Name(), nil)
	up := r.Serve(t)
	r.Cache("c", f.Name(), up.URL+"/origin", 60)
	wrong := filled(6<<20, 'x')
	up.Misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(wrong)))
		w.Write(wrong) //nolint:errcheck // a test server
		return true
	})
	h := r.Open("c")
	op, _ := h.Route(formats.Req{Method: "GET", Path: "file"})
	c, err := h.Read(t.Context(), op, repo.ReadOptions{})
	if err == nil {
		var got []byte
		got, err = repotest.ReadContent(t.Context(), c, "")
		if len(got) >= len(wrong) {
			t.Error("all of the wrong bytes were passed on")
		}
	}
	if !errors.Is(err, formats.ErrUpstream) {
		t.Errorf("wrong bytes ended with %v, want an upstream error", err)
	}
	up.Misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Write(want) //nolint:errcheck // a test server
		return true
	})
	if got := r.Get("c", "file"); len(got) != len(want) || got[0] != 'w' {
		t.Errorf("%d bytes after the upstream was mended", len(got))
	}
}

// Bytes of a cache that are lost are fetched again, and served from then on
// without the upstream.
func TestLostCopyIsFetchedAgain(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	up := r.Serve(t)
	r.Cache("c", "raw", up.URL+"/origin", 600)
	body := filled(3<<20, 'l')
	r.Put("origin", "f", body)
	r.Get("c", "f")
	for info, err := range r.Blobs.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Blobs.Delete(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
	}
	up.Misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Write(body) //nolint:errcheck // a test server
		return true
	})
	if got := r.Get("c", "f"); !bytes.Equal(got, body) {
		t.Errorf("%d bytes came back", len(got))
	}
	up.Kill()
	if got := r.Get("c", "f"); !bytes.Equal(got, body) {
		t.Errorf("%d bytes without the upstream", len(got))
	}
}
