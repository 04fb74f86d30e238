package kv_test

import (
	"fmt"
	"testing"

	"granary/kv"
)

// The names of partitions are on disk.
func TestPartitionsAreNamedAsEver(t *testing.T) {
	s := kv.Space{Repo: "01jabc"}
	for _, shard := range []int{0, 1, 15, 16, 255, 256, 4095, 4096, 65535, 65536, 1<<20 + 3} {
		if got, want := s.Records(shard), fmt.Sprintf("a/01jabc/%04x", shard); got != want {
			t.Errorf("shard %d: %s, want %s", shard, got, want)
		}
	}
}
