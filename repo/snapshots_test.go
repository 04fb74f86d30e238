package repo_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/raw"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// meanwhile does something before the first write to a partition.
type meanwhile struct {
	kv.Store
	partition string
	do        func()
}

func (m *meanwhile) Traits() kv.Traits { return kv.TraitsOf(m.Store) }

func (m *meanwhile) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if do := m.do; do != nil && strings.HasPrefix(item.Partition, m.partition) {
		m.do = nil
		do()
	}
	return m.Store.PutIf(ctx, item, old)
}

// A snapshot that is written so late that the history of its time has gone is
// none: it would show what was never there.
func TestSnapshotThatIsWrittenTooLate(t *testing.T) {
	slow := &meanwhile{partition: kv.SnapshotPartition}
	r := repotest.New(t, repotest.Options{
		Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} },
		Wrap:    func(s kv.Store) kv.Store { slow.Store = s; return slow },
	})
	c := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "f", []byte("1"))
	slow.do = func() {
		r.Clock.Advance(time.Minute)
		r.Put("files", "f", []byte("2"))
		r.Clock.Advance(2 * time.Hour)
		for shard := range c.Shards {
			if err := r.Prune(t.Context(), c.ID, shard, "", func(string, int64) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.Snapshot(t.Context(), "files", "s", ""); !errors.Is(err, repo.ErrNotWritable) {
		t.Errorf("a late snapshot: %v, want ErrNotWritable", err)
	}
	if all, err := r.Snapshots(t.Context(), "files"); err != nil || len(all) != 0 {
		t.Errorf("there are %d snapshots, %v", len(all), err)
	}
	if _, err := r.Snapshot(t.Context(), "files", "s", ""); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Get("files@s", "f")); got != "2" {
		t.Errorf("the snapshot holds %q", got)
	}
}
