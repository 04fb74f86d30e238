//go:build unix

package gc_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"granary/blob"
	"granary/blob/fs"
	"granary/digest"
	"granary/formats"
	"granary/formats/raw"
	"granary/gc"
	"granary/kv"
	"granary/kv/pebble"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/repotest"
)

// serveRate is what cmd/granary gives a node.
const serveRate = 100_000

// BenchmarkRound is a round of the collector over b.N artifacts on Pebble, each
// with a blob of its own that it still names: nothing to collect. A million:
// -benchtime 1000000x. The first round runs alone, one part after the other,
// without a limit, and gives the rates; the second runs as in a server, two parts
// at a time at its rate, beside uploads of 1 KiB. Pieces of it alternate with
// pauses of the same length, in which the uploads go on: they are what the
// uploads beside the collector are held against.
func BenchmarkRound(b *testing.B) {
	s := newScale(b)
	s.generate(b.N)
	b.ResetTimer()
	s.alone()
	s.Clock.Advance(62 * time.Minute)
	s.beside()
}

type scale struct {
	*repotest.Rig
	b     *testing.B
	files *config.Repository
	gc    *gc.Collector
}

func newScale(b *testing.B) *scale {
	b.Helper()
	store, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	blobs, err := fs.Open(fs.Config{Root: b.TempDir(), Sync: true})
	if err != nil {
		b.Fatal(err)
	}
	s := &scale{b: b}
	s.Rig = repotest.New(b, repotest.Options{
		KV: store, Blobs: blobs,
		Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} },
	})
	_, err = s.Registry.UpdateSettings(b.Context(), func(c *config.Settings) error { c.GCMinInterval = 0; return nil })
	if err != nil {
		b.Fatal(err)
	}
	s.files = s.Create("files", config.Hosted, "raw", nil)
	s.gc = s.collector(0)
	return s
}

func (s *scale) collector(rate int) *gc.Collector {
	return gc.New(gc.Config{
		KV: s.KV, Registry: s.Registry, Store: s.Service.Store, Records: s.Records, Refs: s.Refs, Now: s.Clock.Now, Rate: rate, Embedded: true,
	})
}

// generate writes n records with a reference each, as fast as the store takes
// them.
func (s *scale) generate(n int) {
	s.b.Helper()
	sp := kv.Space{Repo: s.files.ID, Shards: s.files.Shards}
	now := s.Clock.Now().UnixNano()
	ids := blob.NewSource(s.Clock.Now, rand.Reader)
	var g errgroup.Group
	g.SetLimit(4)
	for begin := 0; begin < n; begin += 500 {
		g.Go(func() error {
			var items []kv.Item
			add := func(key kv.Key, v any) error {
				value, err := kv.Marshal(v)
				items = append(items, kv.Item{Key: key, Value: value, Version: kv.NewVersion()})
				return err
			}
			for i := begin; i < min(begin+500, n); i++ {
				sum := blake3.Sum256(fmt.Appendf(nil, "artifact %d", i))
				id, err := ids.NewID()
				if err != nil {
					return err
				}
				rec := record.Record{
					Since: now, Size: 64 << 10, Type: "application/octet-stream", Sums: digest.Sums{BLAKE3: sum[:], SHA256: sum[:]},
					Store: s.files.Store, Blob: id, Created: now, Updated: now, Nonce: uint64(i),
				}
				ref := refs.Ref{Blob: id, Size: rec.Size, State: refs.Live, Since: now - 1}
				if err := add(sp.Record(fmt.Sprintf("dir%d/sub%d", i%100, i%1000), fmt.Sprintf("artifact-%d.tar.gz", i)), rec); err != nil {
					return err
				}
				if err := add(kv.Reference(s.files.Store, fmt.Sprintf("%x", sum)), ref); err != nil {
					return err
				}
			}
			return s.KV.BatchPut(context.Background(), items)
		})
	}
	if err := g.Wait(); err != nil {
		s.b.Fatal(err)
	}
	s.Clock.Advance(time.Minute)
}

// alone does a round part by part.
func (s *scale) alone() {
	round, err := s.gc.Begin(s.b.Context(), gc.Options{Asked: true})
	if err != nil {
		s.b.Fatal(err)
	}
	spent, cpu, peak := map[string]time.Duration{}, map[string]time.Duration{}, map[string]uint64{}
	for _, part := range round.Parts() {
		kind, _, _ := strings.Cut(part, "/")
		m := watchHeap()
		began, used := time.Now(), cpuTime()
		if err := s.gc.Part(s.b.Context(), false, round.ID, part, nil); err != nil {
			s.b.Fatal(err)
		}
		spent[kind] += time.Since(began)
		cpu[kind] += cpuTime() - used
		peak[kind] = max(peak[kind], m.end())
	}
	s.finish(s.gc, round)
	n := float64(s.b.N)
	for _, kind := range []string{"mark", "sweep"} {
		s.b.ReportMetric(n/spent[kind].Seconds(), kind+"/s")
		s.b.ReportMetric(n/cpu[kind].Seconds(), kind+"/cpu-s")
		s.b.ReportMetric(float64(peak[kind])/(1<<20), kind+"-MiB")
	}
}

// finish closes a round, and makes sure that it has gone through everything and
// collected nothing.
func (s *scale) finish(c *gc.Collector, round *gc.Round) {
	res, err := c.Finish(s.b.Context(), false, round.ID)
	if err != nil {
		s.b.Fatal(err)
	}
	t, n := res.Tally, int64(s.b.N)
	if t.Records < n || t.References < n || t.Condemned+t.Deleted+t.Acquitted+t.Orphans > 0 {
		s.b.Errorf("the round came to %+v", t)
	}
}

// slice is how long the collector runs, and then pauses.
const slice = 500 * time.Millisecond

// beside does a round in pieces, beside uploads.
func (s *scale) beside() {
	c := s.collector(serveRate)
	load := s.upload()
	turn := &turns{}
	turn.pause()
	time.Sleep(2 * slice) // until the uploads run evenly
	var round *gc.Round
	var g errgroup.Group
	took := time.Duration(0)
	g.Go(func() (err error) {
		turn.wait()
		if round, err = c.Begin(s.b.Context(), gc.Options{}); err != nil {
			return err
		}
		// As tasks do: two at a time, and a sweep after all marks.
		for _, kinds := range [][]string{{"mark", "drain", "multipart"}, {"sweep"}, {"bucket"}} {
			var parts errgroup.Group
			parts.SetLimit(2)
			for _, part := range round.Parts() {
				if kind, _, _ := strings.Cut(part, "/"); !slices.Contains(kinds, kind) {
					continue
				}
				parts.Go(func() error {
					return c.Part(s.b.Context(), false, round.ID, part, func(context.Context, int) error { turn.wait(); return nil })
				})
			}
			if err := parts.Wait(); err != nil {
				return err
			}
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	m := watchHeap()
	for over := false; !over; {
		began := time.Now()
		load.phase(1)
		turn.resume()
		select {
		case err := <-ended:
			over = true
			if err != nil {
				s.b.Fatal(err)
			}
		case <-time.After(slice):
			turn.pause()
		}
		took += time.Since(began)
		load.phase(-1) // what is under way counts for neither
		time.Sleep(50 * time.Millisecond)
		load.phase(0)
		time.Sleep(slice)
		load.phase(-1)
	}
	peak := m.end()
	quiet, during := load.end()
	s.finish(c, round)
	s.b.ReportMetric(took.Seconds(), "s/round")
	s.b.ReportMetric(float64(peak)/(1<<20), "round-MiB")
	s.b.ReportMetric(ms(quiet, 50), "quiet-p50-ms")
	s.b.ReportMetric(ms(quiet, 99), "quiet-p99-ms")
	s.b.ReportMetric(ms(during, 50), "during-p50-ms")
	s.b.ReportMetric(ms(during, 99), "during-p99-ms")
	s.b.ReportMetric(ms(during, 99)/ms(quiet, 99), "p99-ratio")
	s.b.ReportMetric(float64(len(quiet)), "quiet-puts")
	s.b.ReportMetric(float64(len(during)), "during-puts")
}

func ms(all []time.Duration, percent int) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[min(len(all)*percent/100, len(all)-1)].Microseconds()) / 1000
}

// turns lets the collector run, or wait.
type turns struct{ mu sync.RWMutex }

func (t *turns) wait()   { t.mu.RLock(); t.mu.RUnlock() } //nolint:staticcheck // a gate
func (t *turns) pause()  { t.mu.Lock() }
func (t *turns) resume() { t.mu.Unlock() }

// uploads are clients that put small files, eight at a time, each a hundred a
// second at the most.
type uploads struct {
	stop    chan struct{}
	clients sync.WaitGroup

	mu   sync.Mutex
	now  int                // phase: 0 quiet, 1 beside the collector, -1 neither; guarded by mu
	took [2][]time.Duration // guarded by mu
}

func (u *uploads) phase(p int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.now = p
}

func (u *uploads) current() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now
}

func (s *scale) upload() *uploads {
	u := &uploads{stop: make(chan struct{}), now: -1}
	for client := range 8 {
		u.clients.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-u.stop:
					return
				case <-tick.C:
				}
				phase, began := u.current(), time.Now()
				body := fmt.Appendf(make([]byte, 0, 1<<10), "%1024d", i)
				_, _, err := s.Send(context.Background(), "files", http.MethodPut, fmt.Sprintf("up%d/f%d/%d", client, i%16, i), body)
				if err != nil {
					s.b.Errorf("upload: %v", err)
					return
				}
				took := time.Since(began)
				u.mu.Lock()
				if phase >= 0 && phase == u.now {
					u.took[phase] = append(u.took[phase], took)
				}
				u.mu.Unlock()
			}
		})
	}
	return u
}

func (u *uploads) end() (quiet, during []time.Duration) {
	close(u.stop)
	u.clients.Wait()
	return u.took[0], u.took[1]
}

// heapWatch samples the heap: what is in use, garbage that was not yet found
// included.
type heapWatch struct {
	stop chan struct{}
	done sync.WaitGroup
	base uint64
	peak uint64
}

func heapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func watchHeap() *heapWatch {
	runtime.GC()
	w := &heapWatch{stop: make(chan struct{}), base: heapNow()}
	w.done.Go(func() {
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(2 * time.Millisecond):
				w.peak = max(w.peak, heapNow())
			}
		}
	})
	return w
}

// end returns by how much the heap was greater than at the begin.
func (w *heapWatch) end() uint64 {
	close(w.stop)
	w.done.Wait()
	return max(w.peak, w.base, heapNow()) - w.base
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
