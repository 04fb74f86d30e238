package explain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/all"
	"granary/gc"
	"granary/gc/explain"
	"granary/integration/leak"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/repotest"
)

func TestMain(m *testing.M) { leak.Verify(m) }

type rig struct {
	*repotest.Rig
	t *testing.T
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{repotest.New(t, repotest.Options{Formats: all.Formats}), t}
}

// explainer reads so many items for an answer.
func (r *rig) explainer(items int) *explain.Explainer {
	collector := gc.New(gc.Config{KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now})
	return explain.New(explain.Config{
		KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Upload: repo.ReadUpload, Pending: collector.Pending, Now: r.Clock.Now, Items: items,
	})
}

// all asks until everything has been looked at; pieces is in how many answers.
func (r *rig) all(e *explain.Explainer, q explain.Query) (names []explain.Name, last explain.Answer, pieces int) {
	r.t.Helper()
	for pieces = 1; ; pieces++ {
		a, err := e.Explain(r.t.Context(), q)
		if err != nil {
			r.t.Fatal(err)
		}
		names = append(names, a.Names...)
		if a.Next == "" {
			return names, a, pieces
		}
		if v, _ := a.Verdict(); len(a.Names) == 0 && a.Reference == nil && v != explain.Unknown {
			r.t.Fatalf("not through, it says %v", v)
		}
		if pieces > 5000 {
			r.t.Fatal("it does not end")
		}
		q.Cursor = a.Next
	}
}

func (r *rig) record(c *config.Repository, scope, name string) record.Record {
	r.t.Helper()
	rec, _, err := r.Records.Get(r.t.Context(), kv.Space{Repo: c.ID, Shards: c.Shards}, scope, name, record.Latest)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// Everything that a mark counts is found: artifacts, the past, publications,
// documents of upstreams; in one answer and in pieces of a few items, each once.
func TestKinds(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	big := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	r.Put("files", "d/now", big)
	r.Put("files", "d/past", big)
	r.Put("files", "d/past", []byte("short"))
	blob := r.record(files, "d", "now")
	hash := fmt.Sprintf("%x", blob.Sums.BLAKE3)
	want := []string{"history files d/past", "record files d/now"}

	for _, id := range []string{hash, string(blob.Blob)} {
		whole, a, pieces := r.all(r.explainer(0), explain.Query{Store: blob.Store, ID: id})
		if got := list(whole); !slices.Equal(got, want) || pieces != 1 {
			t.Errorf("%s is named by %q in %d answers, want %q", id, got, pieces, want)
		}
		if a.Reference == nil || a.Reference.State != refs.Live || a.Hash != hash || a.Blob != blob.Blob || a.Object == nil || *a.Object != int64(len(big)) {
			t.Errorf("%s is %+v", id, a)
		}
		for _, items := range []int{1, 2} {
			parts, _, pieces := r.all(r.explainer(items), explain.Query{Store: blob.Store, ID: id})
			if got := list(parts); !slices.Equal(got, want) || pieces < 2 {
				t.Errorf("%s is named by %q in %d answers of %d items", id, got, pieces, items)
			}
		}
	}
	if names, _, _ := r.all(r.explainer(0), explain.Query{Store: blob.Store, ID: hash, Limit: 1}); len(names) != 2 {
		t.Errorf("one at a time it is named by %q", list(names))
	}
}

func list(names []explain.Name) (out []string) {
	for _, n := range names {
		out = append(out, fmt.Sprintf("%s %s %s", n.Kind, n.Repository, n.Path))
	}
	slices.Sort(out)
	return out
}

// A document that is rendered and one that an upstream gave are named as what
// they are.
func TestDocuments(t *testing.T) {
	r := newRig(t)
	var page strings.Builder
	page.WriteString("<!DOCTYPE html><html><body>")
	for i := range 3000 {
		fmt.Fprintf(&page, `<a href="https://files.example.com/big-1.0.%d.tar.gz#sha256=%064x">big-1.0.%d.tar.gz</a><br/>`, i, i, i)
	}
	page.WriteString("</body></html>")
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, page.String()) //nolint:errcheck // the client has gone
	}))
	t.Cleanup(up.Close)
	r.Cache("copies", "pypi", up.URL+"/simple/", 600)
	r.Get("copies", "simple/big/")
	kinds := map[explain.Kind]bool{}
	e := r.explainer(0)
	for id := range r.references() {
		names, _, _ := r.all(e, explain.Query{Store: r.store(), ID: id})
		if len(names) == 0 {
			t.Errorf("nothing names %s", id)
		}
		for _, n := range names {
			kinds[n.Kind] = true
		}
	}
	if !kinds[explain.Publication] || !kinds[explain.Document] {
		t.Errorf("the kinds found are %v", kinds)
	}
}

func (r *rig) store() string {
	id, err := r.Registry.StoreID(r.t.Context(), "store", "default")
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

func (r *rig) references() map[string]bool {
	out := map[string]bool{}
	for p := range 256 {
		for item, err := range r.KV.Query(context.Background(), kv.ReferencePartition(r.store(), fmt.Sprintf("%02x", p)), "", "") {
			if err != nil {
				r.t.Fatal(err)
			}
			out[item.Sort] = true
		}
	}
	return out
}

// What nothing knows is not found, and what is no id is refused.
func TestUnknown(t *testing.T) {
	r := newRig(t)
	e := r.explainer(0)
	for id, want := range map[string]error{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV": formats.ErrNotFound,
		fmt.Sprintf("%064x", 1):      formats.ErrNotFound,
		"":                           formats.ErrBadRequest,
		"01arz3ndektsv4rrffq69g5fav": formats.ErrBadRequest,
		"01ARZ3NDEKTSV4RRFFQ69G5FAV.01ARZ3NDEKTSV4RRFFQ69G5FAV": formats.ErrBadRequest,
	} {
		if _, err := e.Explain(t.Context(), explain.Query{Store: r.store(), ID: id}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
	for _, cursor := range []string{"%", "e30x", "eyJnIjo5fQ", "eyJ0Ijo5fQ"} {
		_, err := e.Explain(t.Context(), explain.Query{Store: r.store(), ID: fmt.Sprintf("%064x", 1), Cursor: cursor})
		if !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("eyJnIjoxLCJyIjoiYSIsInQiOjEsIm4iOjMsInMiOiJkLy94In0")
	f.Fuzz(func(t *testing.T, cursor string) { explain.CheckCursor(t, cursor) })
}
