package repo_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/formats/all"
	"granary/kv"
	"granary/kv/pebble"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/repotest"
)

// generate writes n records into a repository, half of them with a blob that
// has a reference, as fast as the store takes them: nobody else writes there.
func generate(b *testing.B, r *repotest.Rig, c *config.Repository, n int) {
	b.Helper()
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	now := r.Clock.Now().UnixNano()
	ids := blob.NewSource(r.Clock.Now, rand.Reader)
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
				content := fmt.Appendf(nil, "the content of artifact number %d", i)
				sum := blake3.Sum256(content)
				rec := record.Record{Since: now, Size: int64(len(content)), Sums: digest.Sums{BLAKE3: sum[:]}, Created: now, Updated: now, Nonce: uint64(i)}
				if i%2 == 0 {
					rec.Inline = content
				} else {
					id, err := ids.NewID()
					if err != nil {
						return err
					}
					rec.Store, rec.Blob = c.Store, id
					if err := add(kv.Reference(c.Store, fmt.Sprintf("%x", sum)), refs.Ref{Blob: id, Size: rec.Size, State: refs.Live, Since: now}); err != nil {
						return err
					}
				}
				if err := add(sp.Record(fmt.Sprintf("dir%d/sub%d", i%100, i%1000), fmt.Sprint("artifact-", i)), rec); err != nil {
					return err
				}
			}
			return r.KV.BatchPut(context.Background(), items)
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkClone copies b.N records on Pebble, two shards at a time, as tasks do
// by default, and reads the target all the while: it is not there, or whole.
// A million: -benchtime 1000000x.
func BenchmarkClone(b *testing.B) {
	store, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	r := repotest.New(b, repotest.Options{Formats: all.Formats, KV: store})
	source := r.Create("source", config.Hosted, "raw", nil)
	generate(b, r, source, b.N)
	r.Clock.Advance(time.Minute)

	var heap atomic.Uint64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	wrong := atomic.Int64{}
	watch.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if n%20 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				heap.Store(max(heap.Load(), m.HeapInuse))
			}
			h, err := r.Service.Open(context.Background(), "copy", repo.Everything)
			if errors.Is(err, formats.ErrNotFound) {
				continue
			}
			if err == nil {
				op, _ := h.Route(formats.Req{Method: "GET", Path: fmt.Sprintf("dir%d/sub%d/artifact-%d", n%b.N%100, n%b.N%1000, n%b.N)})
				_, err = h.Read(context.Background(), op, repo.ReadOptions{})
			}
			if err != nil {
				wrong.Add(1)
			}
		}
	})
	b.ResetTimer()
	c, err := r.BeginClone(b.Context(), r.Registry, "source", "copy")
	if err != nil {
		b.Fatal(err)
	}
	shards, err := r.PlanClone(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	var copied atomic.Int64
	g, ctx := errgroup.WithContext(b.Context())
	g.SetLimit(2)
	for shard := range shards {
		g.Go(func() error {
			return r.CloneShard(ctx, c, shard, "", func(_ string, done repo.Copied) error {
				copied.Add(done.Artifacts)
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	if err := r.EndClone(b.Context(), r.Registry, c); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	time.Sleep(50 * time.Millisecond)
	close(stop)
	watch.Wait()
	if copied.Load() != int64(b.N) || wrong.Load() > 0 {
		b.Errorf("%d of %d records copied, %d wrong answers meanwhile", copied.Load(), b.N, wrong.Load())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(heap.Load())/(1<<20), "MiB-heap")
}
