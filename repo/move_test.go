package repo_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"granary/formats/all"
	"granary/repo/config"
	"granary/repo/repotest"
)

// A move that dies at any write and is gone on with brings all bytes into the
// other store, those of the past too; they can be read all the while.
func TestMoveCrashesAnywhere(t *testing.T) {
	for step := 1; ; step += 2 {
		store := repotest.NewDying()
		r := repotest.New(t, repotest.Options{Formats: all.Formats, KV: store})
		src := r.Create("src", config.Hosted, "raw", nil)
		r.Put("src", "d/small", []byte("small"))
		r.Put("src", "d/big", filled(100_000, 'a'))
		r.Put("src", "e/big", filled(100_000, 'b'))
		r.Put("src", "e/same", filled(100_000, 'b'))
		r.Clock.Advance(time.Minute)
		before := r.Clock.Now().Format(time.RFC3339Nano)
		r.Clock.Advance(time.Minute)
		r.Put("src", "d/big", filled(200_000, 'c'))
		want := contents(t, r, "src")
		other, err := r.Registry.CreateStore(t.Context(), "other", func(s *config.Store) error {
			s.Type, s.Root, s.Sync, s.IOSize = config.File, "/elsewhere", true, 1024
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Registry.SetStore(t.Context(), src.ID, other.ID); err != nil {
			t.Fatal(err)
		}
		shard, cursor, moved, crashed := 0, "", int64(0), false
		store.Set(step)
		for shard < src.Shards {
			err := r.MoveShard(t.Context(), src.ID, shard, cursor, func(next string, n int64) error {
				cursor, moved = next, moved+n
				return nil
			})
			if err == nil {
				shard, cursor = shard+1, ""
				continue
			}
			if !errors.Is(err, repotest.ErrDied) {
				t.Fatal(err)
			}
			store.Set(-1)
			crashed = true
			if got := contents(t, r, "src"); !maps.Equal(got, want) {
				t.Fatalf("step %d: half moved it holds %d files", step, len(got))
			}
		}
		store.Set(-1)
		// Nothing is needed of the old store any more.
		for b, err := range r.Blobs.List(t.Context(), "") {
			if err == nil {
				err = r.Blobs.Delete(t.Context(), b.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := contents(t, r, "src"); !maps.Equal(got, want) {
			t.Fatalf("step %d: moved it holds %d files, want %d", step, len(got), len(want))
		}
		if got := r.Get("src@"+before, "d/big"); len(got) != 100_000 || got[0] != 'a' {
			t.Errorf("step %d: the past was not moved", step)
		}
		if !crashed {
			if moved != 4 {
				t.Errorf("%d records moved, want 4", moved)
			}
			return
		}
	}
}
