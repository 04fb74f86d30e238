package config

import (
	"fmt"
	"testing"

	"granary/kv"
	"granary/kv/mem"
)

func filled(b *testing.B, n int) *Registry {
	s := mem.New(mem.Options{})
	r := Open(Options{KV: s, Formats: testFormats})
	for i := range n {
		repo := &Repository{ID: fmt.Sprintf("id%06d", i), Name: fmt.Sprintf("repo%06d", i), Type: Hosted, Format: "raw", Store: "s", Shards: 16}
		item, err := encode(r, kv.Config(kindRepository, repo.ID), repo)
		if err == nil {
			err = s.PutIf(b.Context(), item, "")
		}
		if err == nil {
			_, err = r.claimName(b.Context(), repo.Name, repo.ID, found{})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkRepository(b *testing.B) {
	r := filled(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Repository(b.Context(), "repo000500"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadUnchanged(b *testing.B) {
	r := filled(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Load(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
