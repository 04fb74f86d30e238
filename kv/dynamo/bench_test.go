package dynamo_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"granary/kv"
)

// BenchmarkService measures the client together with a service on the same
// machine, which is most of it.
func BenchmarkService(b *testing.B) {
	for name, start := range services {
		b.Run(name, func(b *testing.B) {
			s := open(b, config(start(b)))
			var n atomic.Int64
			fresh := func() kv.Item {
				return kv.Item{Key: kv.Key{Partition: "a", Sort: strconv.FormatInt(n.Add(1), 10)}, Value: make([]byte, 1<<10), Version: "v"}
			}
			b.Run("PutIf", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := s.PutIf(b.Context(), fresh(), ""); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
			one := fresh()
			if err := s.PutIf(b.Context(), one, ""); err != nil {
				b.Fatal(err)
			}
			b.Run("Get", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := s.Get(b.Context(), one.Key); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		})
	}
}
