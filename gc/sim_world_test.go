package gc_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/blob"
	blobchaos "granary/blob/chaos"
	blobmem "granary/blob/mem"
	"granary/kv"
	"granary/kv/chaos"
	"granary/kv/mem"
	"granary/repo/config"
)

// world is what the nodes of a simulation share. Its time is that of a synctest
// bubble: every call to a store waits a little, a random number of nanoseconds,
// so that at any time one call is carried out, and which one follows from the seed.
type world struct {
	t     *testing.T
	seed  uint64
	plant simPlant
	swarm swarm
	begin time.Time

	mem      *mem.Store
	kv       *chaos.Store
	planted  kv.Store // kv with the plant
	stores   map[string]*simStore
	repos    map[string]*config.Repository // those that stay, by name
	upstream *simUpstream

	mu       sync.Mutex
	rng      *rand.Rand // guarded by mu, as all below
	calm     bool
	truth    map[string]*truth // by repository/path
	shared   map[string]*sharedTruth
	watches  []*watch
	pasts    map[string]*watch // snapshots by repository@name
	clones   map[string]*watch // by name
	promoted map[int]*promoted // those that are not over, by client
	rotten   map[string]bool   // contents of which a blob or the reference was destroyed, BLAKE3 in hex
	lives    map[int]*node     // nodes by client
	blobs    map[blob.ID]bool  // at rest: those that something names
	stood    map[blob.ID]bool  // at rest: those that were there before the last rounds
	wrong    []string
	did      map[string]int
}

// simStore is a blob store of a world.
type simStore struct {
	id     string
	memory *blobmem.Store
	blobs  *blobchaos.Store
}

const (
	simGrace   = 30 * time.Second
	simHistory = 10 * time.Second // how long history is kept
)

// The repositories of a world.
const (
	simFirst  = "first"  // clients write their own paths, and some together
	simSecond = "second" // the same; it is moved between stores
	simTarget = "target" // what is promoted goes here
	simLedger = "ledger" // has documents
	simMirror = "mirror" // a cache
)

func newWorld(t *testing.T, seed uint64, plant simPlant) *world {
	w := &world{
		t: t, seed: seed, plant: plant, swarm: newSwarm(seed), begin: time.Now(), rng: rand.New(rand.NewPCG(seed, 1)),
		stores: map[string]*simStore{}, repos: map[string]*config.Repository{},
		truth: map[string]*truth{}, shared: map[string]*sharedTruth{}, pasts: map[string]*watch{}, clones: map[string]*watch{},
		promoted: map[int]*promoted{}, rotten: map[string]bool{}, lives: map[int]*node{}, did: map[string]int{},
	}
	w.mem = mem.New(mem.Options{Now: time.Now, Blind: plant.blind(), Misuse: func(err error) { w.fail("%v", err) }})
	w.kv = chaos.New(plant.under(w), w.swarm.chaos(seed))
	w.planted = plant.over(w)
	w.upstream = newSimUpstream(w)
	w.furnish()
	return w
}

// prompt spares what is written first of a record and of its history from
// landing late, be it by the network or by a process that pauses. Here history is kept for less time than a write may take to
// land: what is created after the pruner has been by would be there for ever, or
// come back from the dead.
func prompt(key kv.Key, old kv.Version) bool {
	return old == "" && (strings.HasPrefix(key.Partition, "a/") || strings.HasPrefix(key.Partition, "h/"))
}

// furnish makes stores and repositories, without faults.
func (w *world) furnish() {
	ctx := w.t.Context()
	reg := config.Open(config.Options{KV: few{w.mem}, Formats: simFormats, Now: time.Now, NewID: w.newID})
	must := func(err error) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	must(reg.Load(ctx))
	for i, name := range []string{"default", "other"} {
		_, err := reg.CreateStore(ctx, name, func(s *config.Store) error {
			s.Type, s.Root, s.IOSize = config.File, "/nowhere/"+name, 1024
			return nil
		})
		must(err)
		s := &simStore{memory: blobmem.New(blobmem.Config{Now: time.Now, Report: w.fail})}
		s.id, err = reg.StoreID(ctx, "store", name)
		must(err)
		s.blobs = blobchaos.Wrap(s.memory, blobchaos.Config{Seed: w.seed + uint64(i), Before: w.swarm.blobs, After: w.swarm.blobs / 2, Cut: w.swarm.blobs / 5}) //nolint:gosec // 0 or 1
		w.stores[name] = s
	}
	_, err := reg.UpdateSettings(ctx, func(s *config.Settings) error {
		s.GCMinInterval, s.GCGrace, s.GCInterval = 0, int64(simGrace/time.Second), 0
		return nil
	})
	must(err)
	for _, name := range []string{simFirst, simSecond, simTarget, simLedger, simMirror} {
		w.repos[name], err = reg.CreateRepository(ctx, name, func(c *config.Repository) error {
			c.Type, c.Format, c.Store, c.ConflictPolicy = config.Hosted, "raw", w.stores["default"].id, config.Allow
			switch name {
			case simLedger:
				c.Format = ledger{}.Name()
			case simMirror:
				ttl := int64(5)
				c.Type, c.UpstreamURL, c.CacheTTL, c.ConflictPolicy = config.Cache, simUpstreamURL, &ttl, ""
			}
			return nil
		})
		must(err)
	}
}

// newID makes ids of repositories, stores and nodes.
func (w *world) newID() string {
	id, err := blob.NewID(time.Now(), w)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.ToLower(string(id))
}

// Read is the world's randomness for ids.
func (w *world) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range p {
		p[i] = byte(w.rng.Uint32())
	}
	return len(p), nil
}

// few gives repositories few shards, so that much happens in each.
type few struct{ kv.Store }

func (few) Traits() kv.Traits { return kv.Traits{Inline: 8, Shards: 2} }

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) < 5 {
		w.wrong = append(w.wrong, fmt.Sprintf("%8v ", time.Since(w.begin).Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

func (w *world) count(what string) { w.locked(func() { w.did[what]++ }) }

func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// wait is the time that a call takes.
func (w *world) wait() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm {
		return time.Duration(1 + w.rng.IntN(1000))
	}
	return time.Duration(1 + w.rng.IntN(int(8*time.Millisecond)))
}

// nap waits for up to a time.
func (w *world) nap(ctx context.Context, most time.Duration) {
	select {
	case <-time.After(time.Duration(1 + w.roll(int(most)))):
	case <-ctx.Done():
	}
}

// other is some node that lives and isn't the client's own; nil if there is none.
func (w *world) other(client int) *node {
	at := (client + 1 + w.roll(simNodes-1)) % simNodes
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lives[at]
}
