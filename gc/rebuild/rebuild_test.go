package rebuild_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"granary/cluster"
	"granary/cluster/task"
	"granary/formats"
	"granary/formats/raw"
	"granary/gc/rebuild"
	"granary/integration/leak"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/repotest"
)

func TestMain(m *testing.M) { leak.Verify(m) }

// run runs a rebuild to its end, with a service of its own.
func run(t *testing.T, r *repotest.Rig) rebuild.Result {
	t.Helper()
	member, err := cluster.Join(t.Context(), cluster.Config{KV: r.KV, Embedded: true})
	if err != nil {
		t.Fatal(err)
	}
	// A node that remembers nothing.
	records := record.New(record.Config{KV: r.KV, Now: r.Clock.Now, Node: "other"})
	tasks, err := task.New(task.Config{
		KV: r.KV, Members: member, Now: r.Clock.Now, Poll: 20 * time.Millisecond,
		Kinds: []task.Kind{&rebuild.Kind{Registry: r.Registry, Records: records, Now: r.Clock.Now}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); tasks.Run(ctx) }()
	defer func() {
		stop()
		<-ended
		if err := errors.Join(records.Close(context.Background()), member.Close(context.Background())); err != nil {
			t.Error(err)
		}
	}()
	begun, err := tasks.Start(t.Context(), rebuild.Name, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		got, err := tasks.Get(t.Context(), begun.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status.Over() {
			var out rebuild.Result
			if got.Status != task.Completed {
				t.Fatalf("rebuild: %+v", got)
			}
			if err := json.Unmarshal(got.Result, &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the rebuild does not end")
	return rebuild.Result{}
}

func TestRebuild(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} }})
	a := r.Create("a", config.Hosted, "raw", nil)
	for i := range 5 {
		r.Put("a", fmt.Sprintf("x/y/z%d/file", i), []byte("12345"))
	}
	if err := r.Records.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := run(t, r); got.Repos != 1 || got.Entries != 0 || got.Stores != 0 {
		t.Errorf("nothing is wrong: %+v", got)
	}

	sp := kv.Space{Repo: a.ID, Shards: a.Shards}
	for _, key := range []kv.Key{sp.Marker("x", "y"), sp.Marker("x/y", "z3")} {
		item, err := r.KV.Get(t.Context(), key, kv.Consistent)
		if err == nil {
			err = r.KV.DeleteIf(t.Context(), key, item.Version)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for item, err := range r.KV.Query(t.Context(), kv.CounterPartition(a.ID), "", "", kv.Consistent) {
		if err == nil {
			err = r.KV.DeleteIf(t.Context(), item.Key, item.Version)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := run(t, r); got.Entries != 2 || got.Stores != 1 {
		t.Errorf("rebuilt: %+v", got)
	}
	for _, key := range []kv.Key{sp.Marker("x", "y"), sp.Marker("x/y", "z3")} {
		if _, err := r.KV.Get(t.Context(), key, kv.Consistent); err != nil {
			t.Errorf("%v: %v", key, err)
		}
	}
	shares, err := r.Records.Shares(t.Context(), a.ID)
	if err != nil || shares.Count != 5 || shares.Bytes != 25 {
		t.Errorf("counters %+v, %v", shares, err)
	}
	if got := run(t, r); got.Entries != 0 || got.Stores != 0 {
		t.Errorf("again: %+v", got)
	}
}
