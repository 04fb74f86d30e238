package record_test

import (
	"fmt"
	"testing"

	"granary/kv/mem"
)

func BenchmarkPutNew(b *testing.B) {
	s := newStore(b, newMem(b, mem.Options{}), newClock(), "n1")
	rec := file("0123456789")
	put(b, s, "some/directory/of/files", "first", "x")
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		// Ten thousand names, so that most writes are overwrites of few: reset
		// before that happens.
		if i == len(names) {
			b.StopTimer()
			s, i = newStore(b, newMem(b, mem.Options{}), newClock(), "n1"), 0
			put(b, s, "some/directory/of/files", "first", "x")
			b.StartTimer()
		}
		if _, err := s.Put(b.Context(), space, "some/directory/of/files", names[i], rec, nil); err != nil {
			b.Fatal(err)
		}
		if err := s.EnsureMarkers(b.Context(), space, "some/directory/of/files"); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkPutOver(b *testing.B) {
	s := newStore(b, newMem(b, mem.Options{}), newClock(), "n1")
	rec := file("0123456789")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Put(b.Context(), space, "a", "f", rec, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// A page of 100 costs the same whether there are 100 or 6,250.
func BenchmarkDir100(b *testing.B) {
	for _, files := range []int{100, 6250} {
		b.Run(fmt.Sprint("of ", files), func(b *testing.B) {
			s := newStore(b, newMem(b, mem.Options{}), newClock(), "n1")
			for i := range files {
				put(b, s, "a", fmt.Sprintf("%05d", i), "0123456789")
			}
			b.ReportAllocs()
			for b.Loop() {
				p, err := s.DirAt(b.Context(), space, "a", 0, 100)
				if err != nil || len(p.Lines) != 100 || p.Total != files {
					b.Fatal(p.Total, err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := newStore(b, newMem(b, mem.Options{}), newClock(), "n1")
	put(b, s, "some/directory", "f", "0123456789")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Get(b.Context(), space, "some/directory", "f", 0); err != nil {
			b.Fatal(err)
		}
	}
}
