package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/gc"
	"granary/gc/explain"
	"granary/repo"
	"granary/repo/config"
)

// newExplainer makes the explainer of a rig, with a collector.
func newExplainer(r *rig) *explain.Explainer {
	r.gc = gc.New(gc.Config{KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Upload: repo.ReadUpload, Now: r.Clock.Now})
	return explain.New(explain.Config{
		KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Upload: repo.ReadUpload, Pending: r.gc.Pending, Now: r.Clock.Now,
	})
}

// explained is what clients see.
type explained struct {
	BlobID      *string `json:"blob_id"`
	ContentHash *string `json:"content_hash"`
	Verdict     string
	Reason      string
	Size        *int64
	Reference   *struct{ State, Since string }
	Collector   struct {
		LastRound uint64 `json:"last_round"`
		Until     string `json:"grace_until"`
		Listed    bool
		DeletedIn uint64 `json:"deleted_in_round"`
	}
	NamedBy  []struct{ Kind, Repository, Path, Since string } `json:"named_by"`
	Limit    int
	Complete bool
	Next     *string `json:"next_cursor"`
}

func (r *rig) collect() {
	r.t.Helper()
	c := r.gc
	round, err := c.Begin(r.t.Context(), gc.Options{Asked: true})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, part := range round.Parts() {
		if err := c.Part(r.t.Context(), false, round.ID, part, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	if _, err := c.Finish(r.t.Context(), false, round.ID); err != nil {
		r.t.Fatal(err)
	}
}

// prune removes the history that nothing keeps.
func (r *rig) prune(names ...string) {
	r.t.Helper()
	for _, name := range names {
		c, err := r.Registry.Repository(r.t.Context(), name)
		if err != nil {
			r.t.Fatal(err)
		}
		for shard := range c.Shards {
			err := r.Service.Prune(r.t.Context(), c.ID, shard, "", func(string, int64) error { return nil })
			if err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// A blob's life, as its explanation tells it: named by an artifact, by the past
// alone, by nothing, condemned, and gone.
func TestExplainBlob(t *testing.T) {
	r := newRig(t)
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.GCMinInterval = 0; return nil }); err != nil {
		t.Fatal(err)
	}
	r.Create("files", config.Hosted, "raw", nil)
	r.Create("more", config.Hosted, "raw", nil)
	data := bytes.Repeat([]byte("explain "), 8<<10)
	for _, path := range []string{"files/d/a", "more/b", "more/c"} {
		r.do("admin", http.MethodPut, "/repository/"+path, bytes.NewReader(data)).status(201)
	}
	var listing struct {
		Artifacts []struct {
			BlobID string `json:"blob_id"`
			Hash   string `json:"content_hash"`
		}
	}
	r.do("admin", http.MethodGet, "/api/v1/repositories/files/artifacts?prefix=d", nil).status(200).decode(&listing)
	id, hash := listing.Artifacts[0].BlobID, listing.Artifacts[0].Hash
	ask := func(id string) (e explained) {
		t.Helper()
		r.do("admin", http.MethodGet, "/api/v1/stores/default/blobs/"+id, nil).status(200).decode(&e)
		return e
	}
	for _, name := range []string{id, hash, strings.ToUpper(hash)} {
		e := ask(name)
		if e.Verdict != "alive" || e.Reference == nil || e.Reference.State != "live" || e.Size == nil || *e.Size != int64(len(data)) ||
			e.BlobID == nil || *e.BlobID != id || e.ContentHash == nil || *e.ContentHash != hash || !e.Complete || e.Next != nil || e.Limit != 100 {
			t.Errorf("%s is explained as %+v", name, e)
		}
		got := fmt.Sprint(e.NamedBy)
		if len(e.NamedBy) != 3 || !strings.Contains(got, "{record files d/a ") || !strings.Contains(got, "{record more b ") || !strings.Contains(got, "{record more c ") {
			t.Errorf("%s is named by %v", name, got)
		}
	}

	// In pieces it is the same.
	var seen []string
	for target, i := "/api/v1/stores/default/blobs/"+id+"?limit=1", 0; ; i++ {
		var e explained
		r.do("admin", http.MethodGet, target, nil).status(200).decode(&e)
		for _, n := range e.NamedBy {
			seen = append(seen, n.Path)
		}
		if len(e.NamedBy) > 1 || i > 4 {
			t.Fatalf("piece %d has %+v", i, e)
		}
		if e.Next == nil {
			break
		}
		target = "/api/v1/stores/default/blobs/" + id + "?limit=1&cursor=" + *e.Next
	}
	if len(seen) != 3 {
		t.Errorf("in pieces it is named by %v", seen)
	}

	for _, path := range []string{"files/d/a", "more/b", "more/c"} {
		r.do("admin", http.MethodDelete, "/repository/"+path, nil).status(204)
	}
	e := ask(id)
	if e.Verdict != "alive" || len(e.NamedBy) != 3 || e.NamedBy[0].Kind != "history" || !strings.Contains(fmt.Sprint(e.NamedBy), "{history files d/a 20") {
		t.Errorf("deleted files are explained as %+v", e)
	}

	r.Clock.Advance(48 * time.Hour)
	r.prune("files", "more")
	if e := ask(id); e.Verdict != "unnamed" || len(e.NamedBy) != 0 || !e.Complete {
		t.Errorf("what nothing names is explained as %+v", e)
	}
	r.collect()
	e = ask(id)
	if e.Verdict != "condemned" || e.Reference.State != "condemned" || e.Reference.Since == "" || e.Collector.LastRound != 1 || !e.Collector.Listed ||
		e.Collector.DeletedIn != 2 || e.Collector.Until == "" || !strings.Contains(e.Reason, "round 2 deletes it") {
		t.Errorf("condemned, it is explained as %+v", e)
	}
	// A use makes it live again.
	r.do("admin", http.MethodPut, "/repository/files/again", bytes.NewReader(data)).status(201)
	if e := ask(id); e.Verdict != "alive" || e.Reference.State != "live" || e.Collector.Listed || len(e.NamedBy) != 1 {
		t.Errorf("used again, it is explained as %+v", e)
	}
	r.do("admin", http.MethodDelete, "/repository/files/again", nil).status(204)
	for range 3 {
		r.Clock.Advance(48 * time.Hour)
		r.prune("files")
		r.collect()
	}
	r.do("admin", http.MethodGet, "/api/v1/stores/default/blobs/"+id, nil).fails(404, "NOT_FOUND", id)
	r.do("admin", http.MethodGet, "/api/v1/stores/default/blobs/"+hash, nil).fails(404, "NOT_FOUND", hash)
}

// What is no question is refused, and only administrators may ask.
func TestExplainRefuses(t *testing.T) {
	r := newRig(t)
	r.user("reader", "admin", "*")
	const target = "/api/v1/stores/default/blobs/"
	r.do("reader", http.MethodGet, target+strings.Repeat("0", 64), nil).fails(403, "FORBIDDEN", "")
	r.do("admin", http.MethodGet, target+"nothing", nil).fails(400, "BAD_REQUEST", "neither a blob id")
	r.do("admin", http.MethodGet, target+strings.Repeat("0", 63), nil).fails(400, "BAD_REQUEST", "neither a blob id")
	r.do("admin", http.MethodGet, target+"01ARZ3NDEKTSV4RRFFQ69G5FAV.01ARZ3NDEKTSV4RRFFQ69G5FAV", nil).fails(400, "BAD_REQUEST", "neither a blob id")
	r.do("admin", http.MethodGet, target+"01ARZ3NDEKTSV4RRFFQ69G5FAV?cursor=%2500", nil).fails(400, "BAD_REQUEST", "cursor")
	r.do("admin", http.MethodGet, target+"01ARZ3NDEKTSV4RRFFQ69G5FAV?limit=0", nil).fails(400, "BAD_REQUEST", "limit")
	r.do("admin", http.MethodGet, target+"01ARZ3NDEKTSV4RRFFQ69G5FAV?limit=1001", nil).fails(400, "BAD_REQUEST", "limit")
	r.do("admin", http.MethodGet, "/api/v1/stores/none/blobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", nil).fails(404, "NOT_FOUND", "")
}
