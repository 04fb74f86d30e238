package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMetricNames(t *testing.T) {
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	m.Begin()
	m.End("GET", "/repository/{repo}/{path}", 200, 3*time.Millisecond)
	m.Begin()
	m.End("BREW", "unmatched", 405, time.Millisecond)
	m.Begin()
	m.Auth("basic", Failure)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`http_requests_total{http_request_method="GET",http_response_status_code="200",http_route="/repository/{repo}/{path}"} 1`,
		`http_requests_total{http_request_method="_OTHER",http_response_status_code="405",http_route="unmatched"} 1`,
		`http_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/repository/{repo}/{path}"} 1`,
		`http_requests_in_flight 1`,
		`auth_attempts_total{method="basic",result="failure"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(w.Body.String(), "BREW") {
		t.Error("an invented method became a label value")
	}
}

func TestRequestLogFields(t *testing.T) {
	var out bytes.Buffer
	LogRequest(t.Context(), slog.New(slog.NewJSONHandler(&out, nil)), &Request{
		ID: "id", Username: "u", IP: "192.0.2.1", Method: "GET", Path: "/p", Status: 200, Action: "file",
		Elapsed: time.Microsecond, BytesRecv: 1, BytesSent: 2, Direction: Downstream, TraceID: "t",
	})
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"request_id": "id", "username": "u", "ip": "192.0.2.1", "method": "GET", "path": "/p", "status": 200.0, "action": "file",
		"elapsed_ns": 1000.0, "bytes_recv": 1.0, "bytes_sent": 2.0, "direction": "downstream", "trace_id": "t",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
}

func TestWriterKeepsEveryLine(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	w := NewWriter(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	}), 100, time.Hour)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				fmt.Fprintf(w, "%d-%d\n", g, i)
			}
		})
	}
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(w, "late")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 8*200+1 || lines[len(lines)-1] != "late" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
	next := map[string]int{}
	for _, l := range lines[:len(lines)-1] {
		g, n, _ := strings.Cut(l, "-")
		if n != fmt.Sprint(next[g]) {
			t.Fatalf("line %q out of order or damaged", l)
		}
		next[g]++
	}
}

func TestWriterFlushesByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := make(chan string, 2)
		w := NewWriter(writerFunc(func(p []byte) (int, error) { out <- string(p); return len(p), nil }), 1<<20, time.Second)
		begun := time.Now()
		fmt.Fprintln(w, "one")
		if got := <-out; got != "one\n" || time.Since(begun) != time.Second {
			t.Errorf("%q after %v", got, time.Since(begun))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func BenchmarkEnd(b *testing.B) {
	m, err := NewMetrics()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Begin()
		m.End("GET", "/repository/{repo}/{path}", 200, time.Millisecond)
	}
}

func BenchmarkLogRequest(b *testing.B) {
	w := NewWriter(writerFunc(func(p []byte) (int, error) { return len(p), nil }), 0, 0)
	defer w.Close()
	l := slog.New(NewLines(w))
	b.ReportAllocs()
	for b.Loop() {
		LogRequest(b.Context(), l, &Request{ID: "c2f1b2b0-6f0e-4c5e-9f9a-5f0f5e1b2c3d", Username: "admin", IP: "127.0.0.1", Method: "GET", Path: "/repository/bench/a/b", Status: 200, Action: "file", Direction: Downstream})
	}
}
