package repo_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/repo"
)

// Documents of an upstream that were replaced, and that vanished, are there as
// of then; their blobs are named to the collector; the pruner lets go of them.
func TestDocumentsHaveAPast(t *testing.T) {
	var state atomic.Int32
	long := func(n int32) string {
		var b strings.Builder
		for i := range 3000 {
			fmt.Fprintf(&b, "v1.%d.%d\n", n, i)
		}
		return b.String()
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := state.Load(); n == 2 || !strings.HasSuffix(r.URL.Path, "/list") {
			http.NotFound(w, r)
		} else {
			fmt.Fprint(w, long(n))
		}
	}))
	t.Cleanup(server.Close)
	r := newRig(t)
	c := r.Cache("c", "golang", server.URL, 0)
	const list = "corp.example/m/@v/list"
	var at []string
	for n := range int32(4) {
		state.Store(n)
		if n == 2 {
			if _, _, err := r.Send(t.Context(), "c", http.MethodGet, list, nil); err == nil {
				t.Error("a vanished document is served")
			}
		} else if got := string(r.Get("c", list)); got != long(n) {
			t.Fatalf("state %d: a list of %d bytes", n, len(got))
		}
		r.Clock.Advance(10 * time.Minute)
		at = append(at, r.Clock.Now().Format(time.RFC3339Nano))
		r.Clock.Advance(26 * time.Hour) // longer than a 404 is remembered
	}
	check := func(states ...int32) {
		t.Helper()
		for _, n := range states {
			_, got, err := r.Send(t.Context(), "c@"+at[n], http.MethodGet, list, nil)
			if n == 2 && err == nil || n != 2 && string(got) != long(n) {
				t.Errorf("as of state %d: %d bytes, %v", n, len(got), err)
			}
		}
	}
	check(0, 1, 2, 3)

	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	history := func() (items, blobs int) {
		t.Helper()
		for shard := range c.Shards {
			for item, err := range r.KV.Query(t.Context(), sp.History(shard), "", "") {
				if err != nil {
					t.Fatal(err)
				}
				items++
				if _, ok, err := repo.ReadHistory(item); err != nil {
					t.Fatal(err)
				} else if ok {
					blobs++
				}
			}
		}
		return items, blobs
	}
	if items, blobs := history(); items != 3 || blobs != 2 {
		t.Errorf("%d items of history name %d blobs, want 3 and 2", items, blobs)
	}
	prune := func() {
		t.Helper()
		for range 2 {
			for shard := range c.Shards {
				if err := r.Prune(t.Context(), c.ID, shard, "", func(string, int64) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if _, err := r.Snapshot(t.Context(), "c", "last", ""); err != nil {
		t.Fatal(err)
	}
	state.Store(1)
	if got := string(r.Get("c", list)); got != long(1) {
		t.Errorf("a list of %d bytes", len(got))
	}
	r.Clock.Advance(2 * time.Hour)
	prune()
	if items, _ := history(); items != 1 {
		t.Errorf("%d items of history are left, want the snapshot's", items)
	}
	if got := string(r.Get("c@last", list)); got != long(3) {
		t.Errorf("as of the snapshot %d bytes", len(got))
	}
	if _, _, err := r.Send(t.Context(), "c@"+at[3], http.MethodGet, list, nil); err == nil || !strings.Contains(err.Error(), "kept since") {
		t.Errorf("a time whose history is gone: %v", err)
	}
	if err := r.DeleteSnapshot(t.Context(), "c", "last"); err != nil {
		t.Fatal(err)
	}
	prune()
	if items, _ := history(); items != 0 {
		t.Errorf("%d items of history are left", items)
	}
}
