package cluster

import (
	"context"
	"testing"

	"granary/kv/mem"
)

// Every request asks.
func BenchmarkReady(b *testing.B) {
	n, err := Join(b.Context(), Config{KV: mem.New(mem.Options{}), Embedded: true})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := n.WriteReady(); err != nil {
			b.Fatal(err)
		}
	}
	if err := n.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
