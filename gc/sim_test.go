package gc_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/gc"
	"granary/kv"
	"granary/repo/refs"
)

func sumOf(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// simulate runs nodes that upload, delete, move, prune and collect on stores
// that are stale, throttled, lossy, late and slow, and that crash and start
// again; then it lets everything come to rest and looks at what is there. It
// returns what was wrong, and what was done.
func simulate(t *testing.T, seed uint64, plant gc.Plant) (wrong []string, did map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, plant)
		w.run(t.Context())
		wrong, did = w.wrong, w.did
	})
	return wrong, did
}

const (
	simNodes = 3
	simTime  = 7 * simGrace
)

func (w *world) run(ctx context.Context) {
	until := w.begin.Add(simTime)
	var wg sync.WaitGroup
	for i := range simNodes {
		wg.Go(func() {
			skew := time.Duration(i-1) * 200 * time.Millisecond
			for life := 0; time.Now().Before(until); life++ {
				n := w.node(fmt.Sprintf("n%d.%d", i, life), skew)
				end := time.Now().Add(time.Duration(1+w.roll(int(simTime/time.Second))) * time.Second)
				crash := time.AfterFunc(time.Until(end), n.die)
				var work sync.WaitGroup
				work.Go(func() { n.lives(ctx, i, until) })
				work.Go(func() { n.collector(ctx, until) })
				work.Wait()
				crash.Stop()
				n.close()
				w.count("life")
			}
		})
	}
	wg.Wait()
	w.rest(ctx)
}

// rest ends all faults, does rounds until nothing more can be collected, and
// compares.
func (w *world) rest(ctx context.Context) {
	w.kv.Calm()
	w.kv.Land(ctx)
	w.blobs.Quiet(true)
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	n := w.node("last", 0)
	defer n.close()
	time.Sleep(2 * simHistory)
	w.look(ctx, n)
	n.prune(ctx)
	for i := range 4 {
		time.Sleep(25 * time.Hour)
		if err := n.gc.Observe(ctx); err != nil {
			w.fail("look at the last round: %v", err)
		}
		time.Sleep(2 * simGrace)
		if _, err := runRound(ctx, n.gc, gc.Options{Asked: i%2 == 0}); err != nil {
			w.fail("a round at rest: %v", err)
			return
		}
	}
	w.look(ctx, n)
	w.tidy(ctx, n)
}

// look reads every path.
func (w *world) look(ctx context.Context, n *node) {
	for name, tr := range w.truth {
		if strings.HasPrefix(name, "shared/") {
			n.checkShared(ctx, tr)
		} else {
			n.check(ctx, tr)
		}
	}
}

// tidy compares what is stored with what is named.
func (w *world) tidy(ctx context.Context, n *node) {
	named := map[string]bool{}
	for _, c := range w.repos {
		sp := kv.Space{Repo: c.ID, Shards: c.Shards}
		for rec, err := range n.records.Walk(ctx, sp, "", "") {
			if err != nil {
				w.fail("read records: %v", err)
			}
			if rec.Record.Blob != "" {
				named[fmt.Sprintf("%x", rec.Record.Sums.BLAKE3)] = true
			}
		}
	}
	blobs := map[string]bool{}
	for p := range 256 {
		for item, err := range w.mem.Query(ctx, kv.ReferencePartition(w.store, fmt.Sprintf("%02x", p)), "", "") {
			ref, derr := refs.Decode(item)
			if err = errors.Join(err, derr); err != nil {
				w.fail("read references: %v", err)
				continue
			}
			if !named[item.Sort] {
				w.fail("the reference to %s, which nothing names, is %v after four rounds", item.Sort[:8], ref.State)
			}
			blobs[string(ref.Blob)] = true
		}
	}
	for info := range w.memory.List(ctx, "") {
		if !blobs[string(info.ID)] {
			w.fail("the object %s, which nothing names, is there after four rounds", info.ID)
		}
	}
	w.did["named at the end"] += len(named)
}

// seeds are those of GRANARY_SIM_SEEDS: a number, or from-to.
func seeds(t *testing.T, fallback uint64) (from, to uint64) {
	v := os.Getenv("GRANARY_SIM_SEEDS")
	if v == "" {
		return 1, fallback + 1
	}
	a, b, both := strings.Cut(v, "-")
	number := func(s string) uint64 {
		x, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("GRANARY_SIM_SEEDS is %q", v)
		}
		return x
	}
	if both {
		return number(a), number(b) + 1
	}
	return 1, number(a) + 1
}

func TestSimulation(t *testing.T) {
	fallback := uint64(20)
	if testing.Short() {
		fallback = 3
	}
	from, to := seeds(t, fallback)
	var mu sync.Mutex
	did, next := map[string]int{}, from
	t.Run("seeds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("worker ", i), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					mu.Lock()
					seed := next
					next++
					mu.Unlock()
					if seed >= to {
						return
					}
					wrong, done := simulate(t, seed, gc.PlantNone)
					for _, s := range wrong {
						t.Errorf("GRANARY_SIM_SEEDS=%d-%d: %s", seed, seed, s)
					}
					mu.Lock()
					for what, n := range done {
						did[what] += n
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d seeds: %v", to-from, did)
	if did["round closed"] < int(to-from) {
		t.Errorf("only %d rounds were closed under way: the simulation simulates too little", did["round closed"])
	}
}
