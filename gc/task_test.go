package gc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"granary/cluster"
	"granary/cluster/task"
	"granary/gc"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/refs"
)

// observed keeps what an observer is told.
type observed struct {
	mu                      sync.Mutex
	rounds, deleted, leaves int64
}

func (o *observed) Collected(_ time.Duration, candidates, references, _, _ int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rounds, o.deleted, o.leaves = o.rounds+1, o.deleted+references, candidates
}

// Two nodes share rounds as tasks.
func TestRoundsAsTasks(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	for i := range 30 {
		r.Put("files", fmt.Sprint(i), body(i))
	}
	for i := range 10 {
		r.delete("files", fmt.Sprint(i))
	}
	r.forgetHistory(files)
	seen := &observed{}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	var services []*task.Service
	for range 2 {
		member, err := cluster.Join(t.Context(), cluster.Config{KV: r.KV, Now: r.Clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer member.Close(context.WithoutCancel(t.Context()))
		s, err := task.New(task.Config{
			KV: r.KV, Members: member, Kinds: []task.Kind{gc.Task{Collector: r.collector(), Observer: seen}},
			Poll: 20 * time.Millisecond, Now: r.Clock.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		work.Go(func() { s.Run(ctx) })
		services = append(services, s)
	}
	run := func(i int, p gc.Params) gc.Outcome {
		t.Helper()
		started, err := services[i].Start(t.Context(), gc.TaskName, p, "admin")
		if err != nil {
			t.Fatal(err)
		}
		for {
			got, err := services[1-i].Get(t.Context(), started.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Status.Over() {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			var out gc.Outcome
			if err := json.Unmarshal(got.Result, &out); err != nil || got.Status != task.Completed || got.Summary == "" {
				t.Fatalf("the task ended as %+v, %v", got, err)
			}
			return out
		}
	}
	r.later()
	if out := run(0, gc.Params{}); out.Condemned != 10 || out.ScannedArtifacts != 20 || out.ScannedBlobs != 30 || out.Type != "blob_gc" {
		t.Errorf("the first round came to %+v", out)
	}
	if _, err := services[0].Start(t.Context(), gc.TaskName, gc.Params{}, "admin"); !errors.Is(err, task.ErrTooSoon) || !errors.Is(err, gc.ErrEarly) {
		t.Errorf("within the grace: %v", err)
	}
	if out := run(1, gc.Params{Dry: true}); !out.DryRun || out.DeletedReferences != 10 {
		t.Errorf("the dry run came to %+v", out)
	}
	for _, s := range services {
		s.Start(t.Context(), gc.TaskName, gc.Params{}, "admin") //nolint:errcheck // too early, but now this node has seen the end of the round
	}
	r.later()
	if out := run(1, gc.Params{}); out.DeletedReferences != 10 || out.DeletedBlobs != 10 || out.DeletedBytes != 10*20<<10 || r.objects() != 20 {
		t.Errorf("the second round came to %+v, %d objects", out, r.objects())
	}
	r.wantStates("at the end", map[refs.State]int{refs.Live: 20})
	if seen.rounds != 2 || seen.deleted != 10 || seen.leaves != 0 {
		t.Errorf("the observer was told %+v", seen)
	}
	if got := r.leftovers(); got > 100 {
		t.Errorf("%d items of earlier rounds are left", got)
	}
}

// leftovers counts the parts of the last round.
func (r *rig) leftovers() (n int) {
	last, err := r.gc.Last(r.t.Context())
	if err != nil || last == nil {
		r.t.Fatal(err)
	}
	for _, old := range last.Old {
		for range r.KV.Query(r.t.Context(), kv.RoundPartition(string(old)), "", "") {
			n++
		}
	}
	return n
}
