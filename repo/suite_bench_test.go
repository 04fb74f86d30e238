package repo_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"granary/blob/fs"
	"granary/formats"
	"granary/formats/all"
	"granary/kv"
	"granary/kv/pebble"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/repotest"
)

// bigSuite is a distribution of n packages with twenty files each, whose records
// are copies of what one upload left, on Pebble and a folder.
func bigSuite(b *testing.B, n int) *repotest.Rig {
	b.Helper()
	store, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	folder, err := fs.Open(fs.Config{Root: b.TempDir(), Sync: true})
	if err != nil {
		b.Fatal(err)
	}
	r := repotest.New(b, repotest.Options{Formats: all.Formats, KV: store, Blobs: folder})
	c := r.Create("debs", config.Hosted, "apt", nil)
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	const scope = "dists/stable"
	uploadDeb(b, r, "sample", 20)
	var samples []record.Record
	var names []string
	h := r.Open("debs")
	for rec, err := range h.View().Records(b.Context(), scope) {
		if err != nil {
			b.Fatal(err)
		}
		if !strings.Contains(rec.Name, "sample") {
			continue // of the section, which there is one of
		}
		stored, _, err := r.Records.Get(b.Context(), sp, scope, rec.Name, record.Latest)
		if err != nil {
			b.Fatal(err)
		}
		samples, names = append(samples, stored), append(names, rec.Name)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close() //nolint:errcheck // EncodeAll has no state
	var items []kv.Item
	for i := range n {
		name := fmt.Sprintf("package%06d", i)
		for at, rec := range samples {
			if strings.Contains(names[at], ",") {
				var files []byte
				for f := range 20 {
					files = fmt.Appendf(files, "usr/share/doc/%s/file%d\n", name, f)
				}
				rec.Meta = enc.EncodeAll(files, nil)
			} else {
				rec.Meta = []byte(strings.ReplaceAll(string(rec.Meta), "sample", name))
			}
			value, err := kv.Marshal(rec)
			if err != nil {
				b.Fatal(err)
			}
			items = append(items, kv.Item{Key: sp.Record(scope, strings.ReplaceAll(names[at], "sample", name)), Value: value, Version: kv.NewVersion()})
		}
		if len(items) >= 500 || i == n-1 {
			if err := r.KV.BatchPut(b.Context(), items); err != nil {
				b.Fatal(err)
			}
			items = items[:0]
		}
	}
	return r
}

// uploadDeb uploads a package with as many files to stable.
func uploadDeb(b *testing.B, r *repotest.Rig, name string, files int) {
	b.Helper()
	dir := b.TempDir()
	text := fmt.Sprintf("Package: %s\nVersion: 1.0\nArchitecture: amd64\nMaintainer: Somebody of the Team <team@lists.example.com>\nInstalled-Size: 1234\n"+
		"Depends: libc6 (>= 2.34), libstdc++6 (>= 12), zlib1g (>= 1:1.2.11), %s-data (= 1.0)\nSection: utils\nPriority: optional\nHomepage: https://www.example.com/%s\n"+
		"Description: what this package is for in a line\n and what it does in some more words, of which there are\n two or three lines as a rule.\n", name, name, name)
	write := func(path, text string) {
		path = filepath.Join(dir, "root", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	write("DEBIAN/control", text)
	for i := range files {
		write(fmt.Sprintf("usr/share/doc/%s/file%d", name, i), name)
	}
	deb := filepath.Join(dir, "x.deb")
	if out, err := exec.CommandContext(b.Context(), "dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "root"), deb).CombinedOutput(); err != nil {
		b.Skipf("dpkg-deb: %v %s", err, out)
	}
	data, err := os.ReadFile(deb)
	if err != nil {
		b.Fatal(err)
	}
	r.Put("debs", "pool/stable/main/upload", data)
}

// BenchmarkSuite is one more upload to a distribution of 50,000 packages and the
// publication that the next client causes, while another reads all the time what
// was published before. An upload reads no packages: its key-value operations
// are counted.
func BenchmarkSuite(b *testing.B) {
	r := bigSuite(b, suiteSize())
	first := time.Now()
	release := r.Get("debs", "dists/stable/InRelease")
	b.Logf("first publication in %s", time.Since(first).Round(time.Millisecond))
	const prefix = "debs/dists/stable/main/binary-amd64/by-hash/SHA256/"
	sum := strings.Fields(release256(string(release), "main/binary-amd64/Packages.gz"))[0]

	var peak atomic.Uint64
	var reads, wrong atomic.Int64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		var m runtime.MemStats
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			_, got, err := r.Send(b.Context(), "debs", "GET", strings.TrimPrefix(prefix, "debs/")+sum, nil)
			if err != nil || len(got) == 0 {
				wrong.Add(1)
			}
			reads.Add(1)
		}
	})
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base := m.HeapInuse
	var uploading, rendering time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		r.Clock.Advance(time.Minute)
		r.KV.Reset()
		at := time.Now()
		uploadDeb(b, r, fmt.Sprintf("more%d", i), 20)
		uploading += time.Since(at)
		if i == b.N-1 {
			b.Logf("an upload: %s", r.KV)
		}
		at = time.Now()
		if got := r.Get("debs", "dists/stable/main/binary-amd64/Packages"); !strings.Contains(string(got), fmt.Sprintf("Package: more%d\n", i)) {
			b.Error("the upload is not in the index")
		}
		rendering += time.Since(at)
	}
	b.StopTimer()
	close(stop)
	watch.Wait()
	if wrong.Load() > 0 {
		b.Errorf("%d of %d reads failed meanwhile", wrong.Load(), reads.Load())
	}
	b.ReportMetric(uploading.Seconds()*1000/float64(b.N), "ms-upload")
	b.ReportMetric(rendering.Seconds()*1000/float64(b.N), "ms-publication")
	b.ReportMetric(float64(peak.Load()-base)/(1<<20), "MiB-over")
	b.ReportMetric(float64(reads.Load()), "reads")
}

// release256 is the list of SHA-256 from where it names a path, that line first.
func release256(text, path string) string {
	_, list, _ := strings.Cut(text, "\nSHA256:")
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == path {
			return line
		}
	}
	return "none"
}

// BenchmarkSuiteUnchanged opens an index of 10,000 packages that has not changed.
func BenchmarkSuiteUnchanged(b *testing.B) {
	r := bigSuite(b, 10_000)
	const path = "dists/stable/main/binary-amd64/Packages.gz"
	size := len(r.Get("debs", path))
	h := r.Open("debs")
	op, _ := h.Route(formats.Req{Method: "GET", Path: path})
	b.ReportAllocs()
	r.KV.Reset()
	for b.Loop() {
		if _, err := h.Read(b.Context(), op, repo.ReadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(r.KV.Reads())/float64(b.N), "kv-reads/op")
	b.ReportMetric(float64(size), "bytes")
}

// suiteSize is 50,000, or what $GRANARY_BENCH_PACKAGES says.
func suiteSize() int {
	if n, err := strconv.Atoi(os.Getenv("GRANARY_BENCH_PACKAGES")); err == nil && n > 0 {
		return n
	}
	return 50_000
}
