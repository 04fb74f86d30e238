package gc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/cluster"
	"granary/cluster/task"
	"granary/gc"
	"granary/kv"
	"granary/repo/config"
)

// wire is a node's way to the store: it counts the records that a collector
// reads over it, and can be cut.
type wire struct {
	kv.Store
	meet func(ctx context.Context, n int) // is told of each record; optional

	mu   sync.Mutex
	read map[kv.Key]int // guarded by mu
	cut  bool           // guarded by mu
}

var errCut = errors.New("the node is dead")

func (w *wire) Traits() kv.Traits { return kv.Traits{Inline: 16 << 10, Shards: 16} } // of a cluster

func (w *wire) pass() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return errCut
	}
	return nil
}

func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

func (w *wire) Get(ctx context.Context, key kv.Key, o ...kv.ReadOption) (kv.Item, error) {
	if err := w.pass(); err != nil {
		return kv.Item{}, err
	}
	return w.Store.Get(ctx, key, o...)
}

func (w *wire) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := w.pass(); err != nil {
		return err
	}
	return w.Store.PutIf(ctx, item, old)
}

func (w *wire) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := w.pass(); err != nil {
		return err
	}
	return w.Store.DeleteIf(ctx, key, old)
}

func (w *wire) Query(ctx context.Context, partition, from, to string, o ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		for item, err := range w.Store.Query(ctx, partition, from, to, o...) {
			if err == nil {
				err = w.pass()
			}
			if err == nil && strings.HasPrefix(partition, "a/") {
				if _, _, isMarker := kv.SplitRecord(item.Sort); !isMarker {
					err = w.record(ctx, item.Key)
				}
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

func (w *wire) record(ctx context.Context, key kv.Key) error {
	w.mu.Lock()
	w.read[key]++
	n := len(w.read)
	w.mu.Unlock()
	if w.meet != nil {
		w.meet(ctx, n)
	}
	return w.pass()
}

// sharer is a node that takes part in rounds.
type sharer struct {
	*wire
	tasks *task.Service
}

// share makes nodes that share rounds, and fills a repository with records.
func (r *rig) share(n, records int, c cluster.Config, meet func(i int) func(context.Context, int)) []*sharer {
	r.t.Helper()
	r.Create("files", config.Hosted, "raw", nil)
	for i := range records {
		r.Put("files", fmt.Sprintf("d%d/f%d", i%40, i), body(i))
	}
	r.later()
	var nodes []*sharer
	for i := range n {
		w := &wire{Store: r.KV, read: map[kv.Key]int{}, meet: meet(i)}
		c.KV, c.Now = w, r.Clock.Now
		member, err := cluster.Join(r.t.Context(), c)
		if err != nil {
			r.t.Fatal(err)
		}
		collector := gc.New(gc.Config{KV: w, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now})
		s, err := task.New(task.Config{
			KV: w, Members: member, Kinds: []task.Kind{gc.Task{Collector: collector}}, Workers: 1, Poll: 10 * time.Millisecond, Now: r.Clock.Now,
		})
		if err != nil {
			r.t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Run(ctx) }()
		r.t.Cleanup(func() {
			stop()
			<-ended
			if err := member.Close(context.Background()); err != nil && !errors.Is(err, errCut) {
				r.t.Error(err)
			}
		})
		nodes = append(nodes, &sharer{w, s})
	}
	return nodes
}

// shared starts a round on one node and waits for its end as another sees it.
func (r *rig) shared(from, at *sharer) gc.Outcome {
	r.t.Helper()
	started, err := from.tasks.Start(r.t.Context(), gc.TaskName, gc.Params{}, "admin")
	if err != nil {
		r.t.Fatal(err)
	}
	for {
		got, err := at.tasks.Get(r.t.Context(), started.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		if !got.Status.Over() {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		var out gc.Outcome
		if err := json.Unmarshal(got.Result, &out); err != nil || got.Status != task.Completed {
			r.t.Fatalf("the round ended as %+v, %v", got, err)
		}
		return out
	}
}

// Two and four nodes share a round: each marks a part, and each record is marked
// once.
func TestEachRecordOnce(t *testing.T) {
	const records = 200
	for _, n := range []int{2, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newRig(t)
			// Nobody goes on before everybody has begun with a part of the mark.
			var begun sync.WaitGroup
			begun.Add(n)
			nodes := r.share(n, records, cluster.Config{}, func(int) func(context.Context, int) {
				return func(ctx context.Context, read int) {
					if read != 1 {
						return
					}
					begun.Done()
					all := make(chan struct{})
					go func() { begun.Wait(); close(all) }()
					select {
					case <-all:
					case <-time.After(2 * time.Minute):
						t.Error("not every node has taken a part")
					}
				}
			})
			out := r.shared(nodes[0], nodes[n-1])
			if out.ScannedArtifacts != records || out.ScannedBlobs != records || out.Condemned != 0 {
				t.Errorf("the round came to %+v", out)
			}
			times := map[kv.Key]int{}
			for i, node := range nodes {
				node.mu.Lock()
				if len(node.read) == 0 || len(node.read) == records {
					t.Errorf("node %d has marked %d records of %d", i, len(node.read), records)
				}
				for key, n := range node.read {
					times[key] += n
				}
				node.mu.Unlock()
			}
			if len(times) != records {
				t.Errorf("%d of %d records were marked", len(times), records)
			}
			for key, n := range times {
				if n != 1 {
					t.Errorf("%v was marked %d times", key, n)
				}
			}
		})
	}
}

// A node that is killed in the middle of a part: others do that part from its
// beginning, and what the dead one had read counts once.
func TestKilledInTheMiddle(t *testing.T) {
	const records = 200
	r := newRig(t)
	var nodes []*sharer
	ready, killed := make(chan struct{}), make(chan struct{})
	nodes = r.share(3, records, cluster.Config{Beat: 500 * time.Millisecond, Dead: 3 * time.Second}, func(i int) func(context.Context, int) {
		return func(_ context.Context, read int) {
			<-ready
			switch {
			case i == 0 && read == 10:
				nodes[0].kill()
				close(killed)
			case i != 0: // so that it gets its part
				select {
				case <-killed:
				case <-time.After(2 * time.Minute):
					t.Error("the node that is to die has taken no part")
				}
			}
		}
	})
	close(ready)
	out := r.shared(nodes[1], nodes[2])
	if out.ScannedArtifacts != records || out.ScannedBlobs != records || out.Condemned != 0 || out.Acquitted != 0 {
		t.Errorf("the round came to %+v", out)
	}
	dead := nodes[0].read
	if len(dead) != 10 {
		t.Errorf("the dead node has read %d records", len(dead))
	}
	times := map[kv.Key]int{}
	for _, node := range nodes[1:] {
		node.mu.Lock()
		for key, n := range node.read {
			times[key] += n
		}
		node.mu.Unlock()
	}
	if len(times) != records {
		t.Errorf("the nodes that live have marked %d of %d records", len(times), records)
	}
}
