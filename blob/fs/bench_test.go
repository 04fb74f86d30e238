package fs

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"granary/blob"
)

// BenchmarkPut is an upload from body to durable file, eight at a time;
// "bound" is the least that does the same: hash, temporary file, fsync,
// rename, fsync of the folder.
func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		body := make([]byte, size)
		b.Run(fmt.Sprintf("granary/%dKiB", size>>10), func(b *testing.B) {
			s := open1(b, Config{Sync: true})
			o := blob.Options{Size: int64(size), NewID: blob.NewSource(time.Now, rand.Reader).NewID}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				r := bytes.NewReader(nil)
				for pb.Next() {
					r.Reset(body)
					v, err := blob.Receive(b.Context(), s, r, o)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := v.Persist(b.Context()); err != nil {
						b.Error(err)
					}
					v.Keep()
					if err := v.Discard(b.Context()); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("bound/%dKiB", size>>10), func(b *testing.B) {
			dir := b.TempDir()
			var n atomic.Int64
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bound(dir, n.Add(1), body); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func bound(dir string, n int64, body []byte) error {
	temp := filepath.Join(dir, fmt.Sprintf(".tmp%d", n))
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	defer f.Close()
	h := blake3.New()
	h.Write(body)
	if _, err := f.Write(body); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	sub := filepath.Join(dir, fmt.Sprint(n%16))
	if err := os.MkdirAll(sub, 0o755); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(sub, fmt.Sprint(n))); err != nil {
		return err
	}
	d, err := os.Open(sub)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func BenchmarkOpen(b *testing.B) {
	s := open1(b, Config{})
	id := put(b, s, make([]byte, 1<<10))
	p := make([]byte, 2<<10)
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Open(b.Context(), id, 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.ReadFull(r, p); n != 1<<10 || err != io.ErrUnexpectedEOF {
			b.Fatal(n, err)
		}
		r.Close()
	}
}

func BenchmarkOpenPlain(b *testing.B) {
	s := open1(b, Config{})
	id := put(b, s, make([]byte, 1<<10))
	path := filepath.Join(s.cfg.Root, id.Path())
	p := make([]byte, 2<<10)
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.ReadFull(f, p); n != 1<<10 || err != io.ErrUnexpectedEOF {
			b.Fatal(n, err)
		}
		f.Close()
	}
}
