package pebble

import (
	"fmt"
	"sync/atomic"
	"testing"

	"granary/kv"
)

// stocked is a store with n items of a KiB.
func stocked(b *testing.B, n int) *Store {
	b.Helper()
	s := open(b, b.TempDir(), Options{})
	var batch []kv.Item
	for i := range n {
		if batch = append(batch, item(i, noise(i, 1024))); len(batch) == 1000 || i == n-1 {
			if err := s.BatchPut(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	if err := s.db.Flush(); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkGet(b *testing.B) {
	const items = 20_000
	s := stocked(b, items)
	for _, missing := range []bool{false, true} {
		b.Run(fmt.Sprintf("missing=%v", missing), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				key := item(n*7919%items, "").Key
				if missing {
					key.Sort += "x"
				}
				if _, err := s.Get(b.Context(), key, kv.Consistent); (err != nil) != missing {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

func BenchmarkPutIf(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, b.TempDir(), Options{})
			value := noise(1, 1024)
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(max(1, writers/2)) // the machine's two cores; otherwise more
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := s.PutIf(b.Context(), item(int(next.Add(1)), value), ""); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkQuery(b *testing.B) {
	s := stocked(b, 20_000)
	for _, limit := range []int{100, 1000} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			b.ReportAllocs()
			from := item(10_000, "")
			for b.Loop() {
				n := 0
				for _, err := range s.Query(b.Context(), from.Partition, from.Sort, "", kv.Limit(limit)) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != limit {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, items := range []int{0, 100_000} {
		b.Run(fmt.Sprint(items), func(b *testing.B) {
			dir := b.TempDir()
			s, err := Open(dir, Options{})
			if err != nil {
				b.Fatal(err)
			}
			for i := range items {
				if err := s.PutIfLazy(b.Context(), item(i, "a record of some two hundred bytes"+fmt.Sprintf("%0170d", i)), ""); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				if s, err = Open(dir, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
