// Package repotest runs repositories in memory for tests: a service on kv/mem
// and blob/mem whose operations are counted, a clock that tests set, and
// upstreams that are repositories served over HTTP on 127.0.0.1.
package repotest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/formats"
	"granary/kv"
	"granary/kv/count"
	"granary/kv/mem"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/upstream"
)

// Options of a rig.
type Options struct {
	KV      kv.Store                                    // default: a strict kv/mem
	Formats func(now func() time.Time) []formats.Format // required
	Blobs   blob.Store                                  // default: a strict blob/mem
	Leases  repo.Leaser                                 // default: none
	Config  upstream.Config                             // of the upstream client
	Wrap    func(kv.Store) kv.Store                     // put between the counter and the service
	Told    repo.Observer                               // default: none
}

// Rig is a service and what it stands on.
type Rig struct {
	*repo.Service
	Registry *config.Registry
	Records  *record.Store
	KV       *count.Store
	Blobs    blob.Store
	Clock    *Clock

	t testing.TB
}

// Clock is a wall clock that moves only when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// New makes a rig with the store "default".
func New(t testing.TB, o Options) *Rig {
	t.Helper()
	clock := &Clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	if o.KV == nil {
		o.KV = mem.New(mem.Options{Now: clock.Now, Misuse: func(err error) { t.Error(err) }})
	}
	if o.Blobs == nil {
		o.Blobs = blobmem.New(blobmem.Config{Now: clock.Now, Report: t.Errorf})
	}
	known := o.Formats(clock.Now)
	counted := count.New(o.KV)
	var store kv.Store = counted
	if o.Wrap != nil {
		store = o.Wrap(counted)
	}
	var names []string
	for _, f := range known {
		names = append(names, f.Name())
	}
	r := &Rig{KV: counted, Blobs: o.Blobs, Clock: clock, t: t}
	r.Registry = config.Open(config.Options{KV: store, Formats: names, Now: clock.Now})
	if err := r.Registry.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Records = record.New(record.Config{KV: store, Now: clock.Now, Node: "n1"})
	client := upstream.New(o.Config)
	var err error
	if err != nil {
		t.Fatal(err)
	}
	var log *slog.Logger
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	r.Service, err = repo.New(repo.Config{
		KV: store, Registry: r.Registry, Formats: known, Records: r.Records, Refs: refs.New(refs.Config{KV: store, Now: clock.Now}),
		Upstream: client, Leases: o.Leases, Now: clock.Now, Log: log, Observer: o.Told,
		Wait: func(_ context.Context, at time.Time) error {
			clock.Advance(max(at.Sub(clock.Now()), 0) + time.Millisecond)
			return nil
		},
		OpenStore: func(_ context.Context, c *config.Store) (blob.Store, error) {
			if c.Name != "default" {
				return blobmem.New(blobmem.Config{Now: clock.Now, Report: t.Errorf}), nil
			}
			return o.Blobs, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		client.Close()
	})
	_, err = r.Registry.CreateStore(t.Context(), "default", func(s *config.Store) error {
		s.Type, s.Root, s.Sync, s.IOSize = config.File, "/nowhere", true, 1024
		return nil
	})
	if err != nil && !errors.Is(err, config.ErrExists) {
		t.Fatal(err)
	}
	return r
}

// Create makes a repository; change may be nil.
func (r *Rig) Create(name string, typ config.Type, format string, change func(*config.Repository)) *config.Repository {
	r.t.Helper()
	store, err := r.Registry.StoreID(r.t.Context(), "store", "default")
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.Registry.CreateRepository(r.t.Context(), name, func(c *config.Repository) error {
		c.Type, c.Format, c.Store = typ, format, store
		if change != nil {
			change(c)
		}
		return nil
	})
	if err != nil {
		r.t.Fatalf("create repository %s: %v", name, err)
	}
	return c
}

// Group makes a group of repositories, the first of which takes uploads.
//
// It shares names with upstreams, so that what is merged of one package can be
// seen; Claiming makes one as they are by default.
func (r *Rig) Group(name, format string, members ...string) {
	r.t.Helper()
	r.group(name, format, func(c *config.Repository) { c.ClaimNames = new(bool) }, members)
}

// Claiming makes a group whose upstreams are not asked for the packages of its
// hosted members.
func (r *Rig) Claiming(name, format string, members ...string) {
	r.t.Helper()
	r.group(name, format, func(*config.Repository) {}, members)
}

func (r *Rig) group(name, format string, fill func(*config.Repository), members []string) {
	r.t.Helper()
	ids, err := r.Registry.MemberIDs(r.t.Context(), "members", members)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Create(name, config.Proxy, format, func(c *config.Repository) {
		c.Members = ids
		fill(c)
	})
}

// Cache makes a cache of an upstream; ttl in seconds.
func (r *Rig) Cache(name, format, upstreamURL string, ttl int64) *config.Repository {
	r.t.Helper()
	return r.Create(name, config.Cache, format, func(c *config.Repository) { c.UpstreamURL, c.CacheTTL = upstreamURL, &ttl })
}

// Open returns a repository with all rights.
func (r *Rig) Open(name string) *repo.Handle {
	r.t.Helper()
	h, err := r.Service.Open(r.t.Context(), name, repo.Everything)
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// open takes name@time and name@snapshot too.
func (r *Rig) open(ctx context.Context, repository string) (*repo.Handle, error) {
	if name, asOf, ok := strings.Cut(repository, "@"); ok {
		return r.OpenAsOf(ctx, name, asOf, repo.Everything)
	}
	return r.Service.Open(ctx, repository, repo.Everything)
}

// Send does what the HTTP layer does with a request: target is a path with
// perhaps a query, header pairs of names and values.
func (r *Rig) Send(ctx context.Context, repository, method, target string, body []byte, header ...string) (*formats.Content, []byte, error) {
	h, err := r.open(ctx, repository)
	if err != nil {
		return nil, nil, err
	}
	u, err := url.Parse("/" + target)
	if err != nil {
		return nil, nil, err
	}
	hdr := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		hdr.Set(header[i], header[i+1])
	}
	path := strings.Trim(u.Path, "/")
	op, ok := h.Route(formats.Req{Method: method, Path: path, Slash: strings.HasSuffix(u.Path, "/"), Query: u.Query(), Header: hdr})
	if !ok {
		return nil, nil, formats.ErrNotFound
	}
	pre := repo.Precondition{IfMatch: hdr.Get("If-Match"), IfNoneMatch: hdr.Get("If-None-Match")}
	switch op.Kind {
	case formats.Write:
		up := &formats.Upload{Header: hdr, Query: u.Query(), Body: bytes.NewReader(body), Size: int64(len(body)), Repository: repository}
		_, err := h.Write(ctx, op, up, pre)
		return nil, nil, err
	case formats.Delete:
		return nil, nil, h.Delete(ctx, op, pre)
	case formats.Call:
		req := httptest.NewRequest(method, "/"+target, nil).WithContext(ctx)
		w := httptest.NewRecorder()
		err := h.Call(w, req, op)
		return nil, w.Body.Bytes(), err
	}
	c, err := h.Read(ctx, op, repo.ReadOptions{})
	if err != nil {
		return nil, nil, err
	}
	b, err := ReadContent(ctx, c, "http://registry.example.com/repository/"+repository)
	return c, b, err
}

// ReadContent reads all of a file or document, with its stand-ins replaced.
func ReadContent(ctx context.Context, c *formats.Content, base string) ([]byte, error) {
	f, err := c.Open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(f)
	if err != nil || !c.Expand {
		return b, err
	}
	var out bytes.Buffer
	w := repo.Expand(&out, base)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return out.Bytes(), w.Close()
}

// Put uploads and fails the test if that is refused.
func (r *Rig) Put(repository, path string, body []byte, header ...string) {
	r.t.Helper()
	if _, _, err := r.Send(r.t.Context(), repository, http.MethodPut, path, body, header...); err != nil {
		r.t.Fatalf("put %s/%s: %v", repository, path, err)
	}
}

// Get reads and fails the test if that is refused.
func (r *Rig) Get(repository, path string) []byte {
	r.t.Helper()
	_, b, err := r.Send(r.t.Context(), repository, http.MethodGet, path, nil)
	if err != nil {
		r.t.Fatalf("get %s/%s: %v", repository, path, err)
	}
	return b
}

// Refused reads and fails the test unless that ends with the error.
func (r *Rig) Refused(want error, repository, method, path string, body []byte) {
	r.t.Helper()
	if _, _, err := r.Send(r.t.Context(), repository, method, path, body); !errors.Is(err, want) {
		r.t.Fatalf("%s %s/%s ended with %v, want %v", method, repository, path, err, want)
	}
}

// Promoted promotes paths of one repository into another, by their names.
func (r *Rig) Promoted(source, target string, paths ...string) error {
	r.t.Helper()
	p := repo.Promotion{ID: rand.Text(), Paths: paths}
	for to, name := range map[*string]string{&p.Source: source, &p.Target: target} {
		c, err := r.Registry.Repository(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		*to = c.ID
	}
	return r.Promote(r.t.Context(), p, "", func(string, repo.Copied) error { return nil })
}
