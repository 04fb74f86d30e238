package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"granary/auth"
	"granary/formats"
	"granary/formats/raw"
	"granary/httpapi/rest"
	"granary/kv"
	"granary/kv/meter"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
	"granary/telemetry"
)

const benchSize = 1 << 10

// benchHandler is the whole surface as it is served, log and metrics included,
// on stores in memory; it returns the token that may read /repository/files/a/b.bin.
func benchHandler(b *testing.B) (http.Handler, string) {
	b.Helper()
	counters := telemetry.NewKeyValue(meter.Ops, meter.Results)
	r := repotest.New(b, repotest.Options{
		Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} },
		Wrap:    func(s kv.Store) kv.Store { return meter.New(s, counters) }, Told: telemetry.NewRepositories(),
	})
	users, err := auth.Open(auth.Options{KV: r.KV, AdminPassword: adminPassword, Cost: auth.Cost{Memory: 64, Time: 1, Threads: 1}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := users.Bootstrap(b.Context()); err != nil {
		b.Fatal(err)
	}
	session, err := users.Login(b.Context(), "", "admin", adminPassword)
	if err != nil {
		b.Fatal(err)
	}
	metrics, err := telemetry.NewMetrics()
	if err != nil {
		b.Fatal(err)
	}
	log := telemetry.NewWriter(io.Discard, 0, 0)
	b.Cleanup(func() { _ = log.Close() })
	h, err := New(Config{
		Auth: users, Repositories: r.Service, Settings: r.Registry.Settings, Expand: repo.Expand, Version: "0",
		REST:    rest.Config{Auth: users, Registry: r.Registry, Repositories: r.Service},
		Metrics: metrics, RequestLog: slog.New(telemetry.NewLines(log)),
	})
	if err != nil {
		b.Fatal(err)
	}
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a/b.bin", bytes.Repeat([]byte("x"), benchSize))
	return h, "Bearer " + string(session.Token)
}

func BenchmarkGetInline(b *testing.B) {
	h, token := benchHandler(b)
	req := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/repository/files/a/b.bin", nil)
	req.Header.Set("Authorization", token)
	b.ReportAllocs()
	for b.Loop() {
		w := &nullWriter{h: http.Header{}}
		h.ServeHTTP(w, req)
		if w.status != 200 || w.n != benchSize {
			b.Fatalf("%d, %d bytes", w.status, w.n)
		}
	}
}

func BenchmarkPutInline(b *testing.B) {
	h, token := benchHandler(b)
	body := bytes.Repeat([]byte("y"), benchSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req := httptest.NewRequestWithContext(b.Context(), http.MethodPut, fmt.Sprintf("/repository/files/a/%d.bin", i), bytes.NewReader(body))
		req.Header.Set("Authorization", token)
		w := &nullWriter{h: http.Header{}}
		h.ServeHTTP(w, req)
		if w.status != 201 {
			b.Fatalf("%d", w.status)
		}
	}
}

type nullWriter struct {
	h         http.Header
	status, n int
}

func (w *nullWriter) Header() http.Header { return w.h }
func (w *nullWriter) WriteHeader(s int)   { w.status = s }
func (w *nullWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

// BenchmarkGetOverTCP compares one connection to the whole server with one to
// the least that net/http can do with a file. The client's share is in both.
func BenchmarkGetOverTCP(b *testing.B) {
	h, token := benchHandler(b)
	name := filepath.Join(b.TempDir(), "b.bin")
	if err := os.WriteFile(name, make([]byte, benchSize), 0o600); err != nil {
		b.Fatal(err)
	}
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		defer f.Close() //nolint:errcheck // a reader
		http.ServeContent(w, &http.Request{Method: http.MethodGet}, "", time.Time{}, f)
	})
	for _, v := range []struct {
		name    string
		handler http.Handler
	}{{"granary", h}, {"bare", bare}} {
		b.Run(v.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := NewServer(ServerConfig{Handler: v.handler})
			go s.Serve(l) //nolint:errcheck // ends with the benchmark
			defer s.Close(b.Context())
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			request := []byte("GET /repository/files/a/b.bin HTTP/1.1\r\nHost: h\r\nAuthorization: " + token + "\r\n\r\n")
			buf := make([]byte, 16<<10)
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				for got := 0; ; {
					n, err := c.Read(buf[got:])
					if err != nil {
						b.Fatal(err)
					}
					got += n
					if i := bytes.Index(buf[:got], []byte("\r\n\r\n")); i >= 0 && got-i-4 >= benchSize {
						break
					}
				}
			}
			// On a machine with other work the clock on the wall says little.
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
