package blob_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"testing"

	"granary/blob"
)

// sink is a store that keeps nothing, so that a benchmark sees only Receive.
type sink struct{}

func (sink) Create(context.Context, blob.ID, int64) (blob.Writer, error) { return sink{}, nil }
func (sink) Open(context.Context, blob.ID, int64, int64) (io.ReadCloser, error) {
	return nil, blob.ErrNotFound
}
func (sink) Stat(context.Context, blob.ID) (blob.Info, error) { return blob.Info{}, blob.ErrNotFound }
func (sink) Delete(context.Context, blob.ID) error            { return nil }
func (sink) List(context.Context, string) iter.Seq2[blob.Info, error] {
	return func(func(blob.Info, error) bool) {}
}
func (sink) Write(p []byte) (int, error)  { return len(p), nil }
func (sink) Commit(context.Context) error { return nil }
func (sink) Abort(context.Context) error  { return nil }

func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"1KiB", 1 << 10}, {"64KiB", 64 << 10}, {"16MiB", 16 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			body := content(c.size)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			r := bytes.NewReader(body)
			for b.Loop() {
				r.Reset(body)
				v, err := blob.Receive(b.Context(), sink{}, r, blob.Options{Size: int64(c.size)})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := v.Persist(b.Context()); err != nil {
					b.Fatal(err)
				}
				v.Keep()
				if err := v.Discard(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
