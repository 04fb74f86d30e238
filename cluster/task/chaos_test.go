package task_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"granary/cluster/task"
	"granary/kv/chaos"
)

// On a store that throttles, loses answers, carries writes out late and reads
// stale, with nodes that are killed, what is done is done and what is reported
// is right: each step of each shard is in the result exactly once, and Save
// never goes back.
func TestChaos(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { underChaos(t, uint64(seed)) }) })
	}
}

func underChaos(t *testing.T, seed uint64) {
	w := newWorld(t)
	bad := chaos.New(w.store, chaos.Options{
		Seed: seed, Stale: 0.3, Lag: time.Minute, Throttle: 0.03, Lost: 0.05, Late: 0.03, Delay: 3 * time.Minute, Pause: 0.05, MaxPause: 2 * time.Second,
		Now:   time.Now,
		Sleep: func(ctx context.Context, d time.Duration) error { return wait(ctx, d) },
	})
	random := rand.New(rand.NewPCG(seed, 1))
	w.kind.steps = 20
	a, b, c := w.join(), w.join(), w.join()
	for _, n := range w.nodes {
		n.line.set(func() { n.line.inner = bad })
	}
	begun := w.start(a)
	time.Sleep(time.Duration(random.IntN(20)) * time.Second)
	[]*node{b, c}[random.IntN(2)].kill()
	time.Sleep(10 * time.Minute)
	bad.Calm()
	got := w.over(a, begun.ID)
	if got.Status != task.Completed || string(got.Result) != `{"steps":160}` || got.Progress.CheckedBlobs != 160 {
		t.Errorf("task = %+v", got)
	}
	for shard, epochs := range w.kind.epochs {
		for i := 1; i < len(epochs); i++ {
			if epochs[i] <= epochs[i-1] {
				t.Errorf("%s: epochs %v do not grow", shard, epochs)
			}
		}
	}
	for _, n := range w.nodes {
		w.end(n)
	}
}
