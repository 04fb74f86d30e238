package yum_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
)

// generated are n packages as a distribution has them: 30 files, 12
// dependencies and 10 changes each.
func generated(t testing.TB, n int) []formats.Record {
	t.Helper()
	s := formattest.NewStore(t, format())
	var out []formats.Record
	for i := range n {
		r := rpm{
			name: fmt.Sprintf("package-%05d", i), version: fmt.Sprintf("%d.%d", i%7, i%31), release: "1.el9", arch: "x86_64", payload: "x",
			more: func(h *rpmHeader) {
				var files, provides, texts []string
				for f := range 30 {
					files = append(files, fmt.Sprintf("file-%d-%x.py", f, i*7919+f*104729))
				}
				h.texts(1117, files...)
				h.texts(1118, fmt.Sprintf("/usr/share/package-%05d/lib/", i), "/usr/bin/")
				h.int32s(1116, append(make([]uint32, 29), 1)...)
				for f := range 12 {
					provides = append(provides, fmt.Sprintf("lib%d-%x.so.%d()(64bit)", f, i*31337, f))
				}
				h.texts(1049, provides...)
				h.int32s(1048, make([]uint32, 12)...)
				h.texts(1050, make([]string, 12)...)
				for f := range 10 {
					texts = append(texts, fmt.Sprintf("- change %d of package %d: resolves bug %d", f, i, i*17+f))
				}
				h.int32s(1080, make([]uint32, 10)...)
				h.texts(1081, texts...)
				h.texts(1082, texts...)
			},
		}
		tx := formattest.NewTx(t, s)
		op, _ := format().Route(formattest.Request(t, "PUT", pathOf(r), nil))
		up := &formats.Upload{Header: http.Header{}, Body: strings.NewReader(string(r.build())), Size: -1}
		if err := format().Accept(t.Context(), op, up, tx); err != nil {
			t.Fatal(err)
		}
		for _, rec := range tx.Puts {
			if strings.HasPrefix(rec.Name, "packages/") {
				out = append(out, rec)
			}
		}
	}
	return out
}

// BenchmarkRender renders the metadata of 50,000 packages. peak-MB is the heap
// beyond the records and the documents that the benchmark itself holds.
func BenchmarkRender(b *testing.B) {
	recs := generated(b, 50_000)
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	var peak atomic.Uint64
	for b.Loop() {
		done, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			var m runtime.MemStats
			for {
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
					runtime.ReadMemStats(&m)
					peak.Store(max(peak.Load(), m.HeapAlloc))
				}
			}
		}()
		pub := &formattest.Pub{Keys: signer{}}
		if err := format().Render(b.Context(), "repodata", formattest.Seq(recs...), pub); err != nil {
			b.Fatal(err)
		}
		close(done)
		<-ended
		var size int
		for _, name := range []string{"primary.xml.gz", "filelists.xml.gz", "other.xml.gz"} {
			size += len(pub.Docs[name].Body)
		}
		b.ReportMetric(float64(size)/1e6, "MB-documents")
		b.ReportMetric(float64(peak.Load()-before.HeapAlloc)/1e6, "peak-MB")
	}
}
