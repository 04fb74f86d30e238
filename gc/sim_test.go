package gc_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// simulate runs nodes that do all that nodes do on stores that are stale,
// throttled, lossy, late and slow, and that crash and start again; then it lets
// everything come to rest and looks at what is there. It returns what was wrong,
// and what was done.
func simulate(t *testing.T, seed uint64, plant simPlant) (wrong []string, did map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, plant)
		w.run(t.Context())
		wrong, did = w.wrong, w.did
	})
	return wrong, did
}

const (
	simNodes = 3
	simTime  = 10 * simGrace
)

func (w *world) run(ctx context.Context) {
	until := w.begin.Add(simTime)
	var wg sync.WaitGroup
	for i := range simNodes {
		wg.Go(func() {
			skew := time.Duration(i-1) * 200 * time.Millisecond
			for life := 0; time.Now().Before(until); life++ {
				w.life(i, life, skew, until)
			}
		})
	}
	wg.Wait()
	w.rest(ctx)
	w.upstream.work.Wait()
}

// life is one of a node, which ends by a crash or with the simulation.
func (w *world) life(client, life int, skew time.Duration, until time.Time) {
	n, err := w.node(client, fmt.Sprintf("n%d.%d", client, life), skew, false)
	if err != nil {
		w.nap(w.t.Context(), 5*time.Second)
		return
	}
	crash := time.AfterFunc(time.Duration(1+w.roll(int(simTime/time.Second)))*time.Second, n.die)
	var work sync.WaitGroup
	work.Go(func() { n.acts(n.ctx, until) })
	work.Go(func() { n.collector(n.ctx, until) })
	work.Wait()
	crash.Stop()
	n.close()
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
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and short
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
					wrong, done := simulate(t, seed, simPlant{})
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
