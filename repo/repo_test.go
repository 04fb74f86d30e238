package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	blobmem "granary/blob/mem"
	"granary/formats"
	"granary/formats/all"
	"granary/formats/formattest"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

func newRig(t testing.TB) *repotest.Rig {
	t.Helper()
	return repotest.New(t, repotest.Options{Formats: all.Formats})
}

func filled(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

// The cost budget of design.md §10, counted.
func TestCostBudget(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	r.Create("b", config.Hosted, "raw", nil)
	r.Group("all", "raw", "b", "a")
	small, big := filled(100, 's'), filled(100_000, 'b')
	r.Put("a", "dir/known", small) // makes the directory known
	blobs := r.Blobs.(*blobmem.Store)

	for _, c := range []struct {
		name          string
		do            func()
		reads, writes int
		blobs         int
	}{
		{"PUT, inline, new path", func() { r.Put("a", "dir/small", small) }, 0, 1, 0},
		{"GET, inline", func() { r.Get("a", "dir/small") }, 1, 0, 0},
		{"PUT over an existing record", func() { r.Put("a", "dir/small", filled(101, 'x')) }, 1, 3, 0},
		{"PUT, blob, new content", func() { r.Put("a", "dir/big", big) }, 1, 2, 1},
		{"GET, blob", func() { r.Get("a", "dir/big") }, 1, 0, 1},
		{"PUT, blob, known content", func() { r.Put("a", "dir/big2", big) }, 1, 1, 1},
		{"GET, 404", func() { r.Refused(formats.ErrNotFound, "a", "GET", "dir/none", nil) }, 2, 0, 0},
		{"GET through a group", func() { r.Get("all", "dir/small") }, 3, 0, 0},
		{"listing", func() {
			if _, err := r.Open("a").Browse(t.Context(), "dir", 0, 1000); err != nil {
				t.Error(err)
			}
		}, 1, 0, 0},
	} {
		r.KV.Reset()
		before := blobCalls(blobs)
		c.do()
		if got := r.KV.Reads(); got > c.reads {
			t.Errorf("%s cost %d reads, the budget is %d (%v)", c.name, got, c.reads, r.KV.Calls())
		}
		if got := r.KV.Writes(); got > c.writes {
			t.Errorf("%s cost %d writes, the budget is %d (%v)", c.name, got, c.writes, r.KV.Calls())
		}
		if got := blobCalls(blobs) - before; got > c.blobs {
			t.Errorf("%s cost %d blob calls, the budget is %d", c.name, got, c.blobs)
		}
	}
}

// blobCalls counts what a store is asked over a network: a blob written or
// opened is one, however many pieces it comes in.
func blobCalls(s *blobmem.Store) int {
	c := s.Calls()
	return c[blobmem.Create] + c[blobmem.Open] + c[blobmem.Stat] + c[blobmem.Delete] + c[blobmem.List]
}

func TestConflictPolicies(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		policy    config.Policy
		same, not error
	}{
		{config.Allow, nil, nil},
		{config.Deny, formats.ErrExists, formats.ErrExists},
		{config.AllowIdentical, nil, formats.ErrExists},
	} {
		name := string(c.policy)
		r.Create(name, config.Hosted, "raw", func(x *config.Repository) { x.ConflictPolicy = c.policy })
		for _, size := range []int{10, 50_000} {
			path := fmt.Sprintf("f%d", size)
			r.Put(name, path, filled(size, '1'))
			_, _, err := r.Send(t.Context(), name, "PUT", path, filled(size, '1'))
			if !errors.Is(err, c.same) {
				t.Errorf("%s: the same bytes again: %v, want %v", name, err, c.same)
			}
			_, _, err = r.Send(t.Context(), name, "PUT", path, filled(size, '2'))
			if !errors.Is(err, c.not) {
				t.Errorf("%s: other bytes: %v, want %v", name, err, c.not)
			}
			want := byte('1')
			if c.not == nil {
				want = '2'
			}
			if got := r.Get(name, path); !bytes.Equal(got, filled(size, want)) {
				t.Errorf("%s: %s holds %.10q…", name, path, got)
			}
		}
	}
}

func TestWriteThroughGroup(t *testing.T) {
	r := newRig(t)
	own := r.Create("own", config.Hosted, "raw", nil)
	r.Create("other", config.Hosted, "raw", nil)
	ids, err := r.Registry.MemberIDs(t.Context(), "members", []string{"other", "own"})
	if err != nil {
		t.Fatal(err)
	}
	r.Create("g", config.Proxy, "raw", func(c *config.Repository) { c.Members, c.WriteMember = ids, own.ID })
	r.Create("readonly", config.Proxy, "raw", func(c *config.Repository) { c.Members = ids })
	r.Put("g", "x", []byte("x"))
	if got := r.Get("own", "x"); string(got) != "x" {
		t.Errorf("the write member holds %q", got)
	}
	r.Refused(formats.ErrNotFound, "other", "GET", "x", nil)
	r.Refused(formats.ErrNotAllowed, "readonly", "PUT", "y", []byte("y"))

	// Without the right on the member the right on the group is worth nothing.
	h, err := r.Service.Open(t.Context(), "g", func(verb formats.Verb, name string) bool {
		return name == "g" || verb == formats.VerbRead && name == "own"
	})
	if err != nil {
		t.Fatal(err)
	}
	op, _ := h.Route(formats.Req{Method: "PUT", Path: "z"})
	up := &formats.Upload{Header: http.Header{}, Body: bytes.NewReader(nil)}
	if _, err := h.Write(t.Context(), op, up, repo.Precondition{}); !errors.Is(err, repo.ErrForbidden) {
		t.Errorf("write without the right on the member: %v", err)
	}
	op, _ = h.Route(formats.Req{Method: "DELETE", Path: "x"})
	if err := h.Delete(t.Context(), op, repo.Precondition{}); !errors.Is(err, repo.ErrForbidden) {
		t.Errorf("delete without the right on the members: %v", err)
	}
	r.Put("other", "only-other", []byte("o"))
	op, _ = h.Route(formats.Req{Method: "GET", Path: "only-other"})
	if _, err := h.Read(t.Context(), op, repo.ReadOptions{}); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("a member that the caller may not read answered: %v", err)
	}
}

func TestPreconditions(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	put := func(body string, pre repo.Precondition) error {
		h := r.Open("a")
		op, _ := h.Route(formats.Req{Method: "PUT", Path: "f"})
		_, err := h.Write(t.Context(), op, &formats.Upload{Header: http.Header{}, Body: bytes.NewReader([]byte(body)), Size: int64(len(body))}, pre)
		return err
	}
	if err := put("1", repo.Precondition{IfMatch: "*"}); !errors.Is(err, formats.ErrPrecondition) {
		t.Errorf("If-Match: * on nothing: %v", err)
	}
	if err := put("1", repo.Precondition{IfNoneMatch: "*"}); err != nil {
		t.Errorf("If-None-Match: * on nothing: %v", err)
	}
	if err := put("2", repo.Precondition{IfNoneMatch: "*"}); !errors.Is(err, formats.ErrPrecondition) {
		t.Errorf("If-None-Match: * on something: %v", err)
	}
	c, _, err := r.Send(t.Context(), "a", "GET", "f", nil)
	if err != nil {
		t.Fatal(err)
	}
	tag := fmt.Sprintf(`"%x"`, c.Sums.BLAKE3)
	if err := put("2", repo.Precondition{IfMatch: `"other", ` + tag}); err != nil {
		t.Errorf("If-Match with the tag: %v", err)
	}
	if err := put("3", repo.Precondition{IfMatch: tag}); !errors.Is(err, formats.ErrPrecondition) {
		t.Errorf("If-Match with the tag of what was replaced: %v", err)
	}
	// Of twelve that want to be first one is.
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 12 {
		wg.Go(func() {
			h := r.Open("a")
			op, _ := h.Route(formats.Req{Method: "PUT", Path: "race"})
			body := fmt.Sprint("body ", i)
			_, err := h.Write(context.Background(), op, &formats.Upload{Header: http.Header{}, Body: bytes.NewReader([]byte(body)), Size: -1}, repo.Precondition{IfNoneMatch: "*"})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, formats.ErrPrecondition) {
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 12 were first", won)
	}
}

// Bytes that are gone are an error, and the next upload of the same content
// heals every record of it.
func TestLostContentHeals(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	r.Create("b", config.Hosted, "raw", nil)
	body := filled(70_000, 'z')
	r.Put("a", "one", body)
	r.Put("b", "two", body)
	for info, err := range r.Blobs.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Blobs.Delete(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
	}
	r.Refused(formats.ErrCorrupt, "a", "GET", "one", nil)
	r.Put("a", "three", body)
	for _, x := range [][2]string{{"a", "one"}, {"b", "two"}, {"a", "three"}} {
		if got := r.Get(x[0], x[1]); !bytes.Equal(got, body) {
			t.Errorf("%s/%s was not healed", x[0], x[1])
		}
	}
}

func TestPatterns(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	up := r.Serve(t)
	for _, p := range []string{"ok/a", "ok/secret", "no/a", "ok/latest"} {
		r.Put("origin", p, []byte("1"))
	}
	ttl := int64(0)
	r.Create("c", config.Cache, "raw", func(c *config.Repository) {
		c.UpstreamURL, c.CacheTTL = up.URL+"/origin", &ttl
		c.AllowPatterns, c.BlockPatterns = []string{"^ok/"}, []string{"secret"}
		c.ImmutablePatterns, c.MutablePatterns = []string{"^ok/"}, []string{"latest$"}
	})
	r.Get("c", "ok/a")
	r.Get("c", "ok/latest")
	r.Refused(formats.ErrBlocked, "c", "GET", "ok/secret", nil)
	r.Refused(formats.ErrBlocked, "c", "GET", "no/a", nil)
	r.Create("own", config.Hosted, "raw", nil)
	r.Group("g", "raw", "own", "c")
	r.Refused(formats.ErrNotFound, "g", "GET", "no/a", nil)
	r.Put("origin", "ok/a", []byte("2"))
	r.Put("origin", "ok/latest", []byte("2"))
	if got := r.Get("c", "ok/a"); string(got) != "1" {
		t.Errorf("what is said never to change was asked for again: %q", got)
	}
	if got := r.Get("c", "ok/latest"); string(got) != "2" {
		t.Errorf("what is said to change was not asked for again: %q", got)
	}
}

func TestGroupWithBrokenMember(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	r.Create("own", config.Hosted, "raw", nil)
	up := r.Serve(t)
	r.Cache("c", "raw", up.URL+"/origin", 0)
	r.Group("g", "raw", "c", "own")
	r.Put("own", "f", []byte("own"))
	up.Misbehave(repotest.Down(500))
	c, got, err := r.Send(t.Context(), "g", "GET", "f", nil)
	if err != nil || string(got) != "own" || c.Warning == "" {
		t.Errorf("the other member's file: %q, %v", got, err)
	}
	r.Refused(formats.ErrUpstream, "g", "GET", "none", nil)
}

func TestBrowseSearchWalkOfGroup(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	r.Create("b", config.Hosted, "raw", nil)
	r.Group("g", "raw", "a", "b")
	for _, p := range []string{"x/1", "x/2", "top"} {
		r.Put("a", p, []byte("a"))
	}
	for _, p := range []string{"x/2", "x/3", "y/4"} {
		r.Put("b", p, []byte("bb"))
	}
	page, err := r.Open("g").Browse(t.Context(), "", 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if page.Total != 3 || len(page.Entries) != 2 || page.Entries[0].Name != "x" || page.Entries[1].Name != "y" {
		t.Errorf("the root is listed as %+v", page)
	}
	page, err = r.Open("g").Browse(t.Context(), "x", 0, 10)
	if err != nil || page.Total != 3 || page.Entries[1].Size != 1 {
		t.Errorf("x is listed as %+v, %v: the first member's file wins", page, err)
	}
	seen := map[string]int{}
	cursor := ""
	for {
		found, err := r.Open("g").Search(t.Context(), "", "", cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range found.Records {
			seen[rec.Key()]++
		}
		if cursor = found.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 5 || seen["x/2"] != 1 {
		t.Errorf("the search found %v", seen)
	}
	found, err := r.Open("g").Search(t.Context(), "X/", "", "", 10)
	if err != nil || len(found.Records) != 3 {
		t.Errorf("search for X/: %v, %v", found, err)
	}
}

func TestDeleteThroughGroup(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	r.Create("b", config.Hosted, "raw", nil)
	r.Group("g", "raw", "a", "b")
	r.Put("a", "f", []byte("a"))
	r.Put("b", "f", []byte("b"))
	if _, _, err := r.Send(t.Context(), "g", "DELETE", "f", nil); err != nil {
		t.Fatal(err)
	}
	r.Refused(formats.ErrNotFound, "a", "GET", "f", nil)
	r.Refused(formats.ErrNotFound, "b", "GET", "f", nil)
	r.Refused(formats.ErrNotFound, "g", "DELETE", "f", nil)
}

// A body that breaks off, or is too long, leaves nothing.
func TestBrokenUploads(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.MaxArtifactBytes = 20 << 20; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1000, 12 << 20} {
		for name, c := range map[string]struct {
			body io.Reader
			size int64
			want error
		}{
			"too short":   {bytes.NewReader(filled(size, 'x')), int64(size) + 1, formats.ErrTruncated},
			"broken off":  {io.MultiReader(bytes.NewReader(filled(size, 'x')), broken{}), -1, formats.ErrBadRequest},
			"too long":    {bytes.NewReader(filled(21<<20, 'x')), -1, formats.ErrTooLarge},
			"said longer": {bytes.NewReader(nil), 21 << 20, formats.ErrTooLarge},
		} {
			h := r.Open("a")
			op, _ := h.Route(formats.Req{Method: "PUT", Path: "f"})
			_, err := h.Write(t.Context(), op, &formats.Upload{Header: http.Header{}, Body: c.body, Size: c.size}, repo.Precondition{})
			if !errors.Is(err, c.want) {
				t.Errorf("%s of %d bytes: %v, want %v", name, size, err, c.want)
			}
			r.Refused(formats.ErrNotFound, "a", "GET", "f", nil)
		}
	}
	for info, err := range r.Blobs.List(t.Context(), "") {
		t.Errorf("blob %v (%v) is left", info, err)
	}
}

// Files of one upload that are beyond its memory stream into the store, and are
// published all the same.
func TestManyFilesOfOneUpload(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	var parts []formattest.Part
	for i := range 20 {
		parts = append(parts, formattest.Part{Name: "file", File: fmt.Sprint("f", i), Content: string(filled(1<<20, byte('a'+i)))})
	}
	header, body := formattest.Form(t, parts...)
	h := r.Open("a")
	op, _ := h.Route(formats.Req{Method: "POST", Path: "d"})
	_, err := h.Write(t.Context(), op, &formats.Upload{Header: header, Body: bytes.NewReader(body), Size: int64(len(body))}, repo.Precondition{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if got := r.Get("a", fmt.Sprint("d/f", i)); !bytes.Equal(got, filled(1<<20, byte('a'+i))) {
			t.Errorf("file %d is another", i)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Error("it did not happen within a minute")
}
