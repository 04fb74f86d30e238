package otlp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"granary/telemetry"
	"granary/telemetry/otlp"
	"granary/telemetry/otlptest"
)

// said keeps the lines of a log.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, string(p))
	return len(p), nil
}

func (s *said) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// rig is an exporter and what is seen of it.
type rig struct {
	*otlp.Exporter
	exports *telemetry.Exports
	said    *said
	close   func() time.Duration // closes, and tells how long that took
}

func open(t *testing.T, e otlp.Endpoint, config ...func(*otlp.Config)) *rig {
	t.Helper()
	r := &rig{exports: telemetry.NewExports(), said: &said{}}
	c := otlp.Config{
		Endpoint: e, ServiceName: "granary", Environment: "test", Version: "1.2.3", Instance: "node-1",
		Exports: r.exports, Log: slog.New(slog.NewTextHandler(r.said, nil)),
	}
	for _, f := range config {
		f(&c)
	}
	var err error
	if r.Exporter, err = otlp.Open(c); err != nil {
		t.Fatal(err)
	}
	var took time.Duration
	r.close = sync.OnceValue(func() time.Duration {
		began := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
		return took
	})
	t.Cleanup(func() { r.close() })
	return r
}

// counts is what the metric says, as "spans sent".
func (r *rig) counts(t *testing.T) map[string]int {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(r.exports); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, m := range families[0].GetMetric() {
		if n := int(m.GetCounter().GetValue()); n > 0 {
			out[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = n
		}
	}
	return out
}

// spans makes n.
func (r *rig) spans(n int) {
	for i := range n {
		_, s := r.Tracer().Start(context.Background(), fmt.Sprint("span ", i))
		s.End()
	}
}

// until waits for a condition.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for began := time.Now(); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func TestSpansAndLogsArrive(t *testing.T) {
	sink := otlptest.Start(t)
	r := open(t, otlp.Endpoint{Address: sink.Address})
	ctx, span := r.Tracer().Start(t.Context(), "work")
	log := slog.New(r.Handler("granary", slog.LevelWarn))
	log.InfoContext(ctx, "too little")
	log.With("part", "x").WithGroup("g").WarnContext(ctx, "bad \xff path", "path", "/a\xfe", "list", []string{"\xff"}, "n", 7, "error", errors.New("broken \xfd"))
	span.End()

	// Without Close: what is there is sent within about a second.
	until(t, "a span and a line", func() bool { return len(sink.Spans()) == 1 && len(sink.Logs()) == 1 })
	s, l := sink.Spans()[0], sink.Logs()[0]
	if s.Name != "work" || s.Parent != "" || s.TraceID != span.SpanContext().TraceID().String() {
		t.Errorf("span %+v", s)
	}
	for key, want := range map[string]string{
		"service.name": "granary", "service.version": "1.2.3", "service.instance.id": "node-1",
		"deployment.environment.name": "test", "deployment.environment": "test",
	} {
		if s.Resource[key] != want || l.Resource[key] != want {
			t.Errorf("%s is %q of spans and %q of lines, want %q", key, s.Resource[key], l.Resource[key], want)
		}
	}
	if l.Body != "bad \uFFFD path" || l.Level != "WARN" || l.TraceID != s.TraceID || l.SpanID != s.SpanID || l.Attributes["part"] != "x" ||
		!strings.Contains(l.Attributes["g"], "/a\uFFFD") || l.Attributes["exception.message"] != "broken \uFFFD" {
		t.Errorf("line %+v", l)
	}
	r.close()
	if got := r.counts(t); got["spans sent"] != 1 || got["logs sent"] != 1 || len(got) != 2 {
		t.Errorf("counted %v", got)
	}
	if lines := r.said.all(); len(lines) != 0 {
		t.Errorf("said %q", lines)
	}
}

func TestCloseSendsTheRest(t *testing.T) {
	sink := otlptest.Start(t)
	r := open(t, otlp.Endpoint{Address: sink.Address})
	const n = 1500 // several messages
	r.spans(n)
	log := slog.New(r.Handler("granary", slog.LevelInfo))
	for range n {
		log.Info("line")
	}
	r.close()
	if spans, logs := len(sink.Spans()), len(sink.Logs()); spans != n || logs != n {
		t.Errorf("%d spans and %d lines came, want %d each", spans, logs, n)
	}
	// What comes later is lost, without harm.
	r.spans(1)
	log.Info("late")
}

// A collector that takes nothing keeps nobody waiting, and not the stop for
// more than FlushTime.
func TestHangingCollector(t *testing.T) {
	t.Parallel()
	sink := otlptest.Start(t)
	sink.Hold()
	r := open(t, otlp.Endpoint{Address: sink.Address})
	const more = 100
	began := time.Now()
	r.spans(otlp.SpanQueue + more)
	log := slog.New(r.Handler("granary", slog.LevelInfo))
	for range otlp.LogQueue + more {
		log.Info("line")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("%v to make spans and lines that nobody takes", took)
	}
	took := r.close()
	if took < otlp.FlushTime-time.Second || took > otlp.FlushTime+20*time.Second {
		t.Errorf("closed after %v, want about %v", took, otlp.FlushTime)
	}
	got := r.counts(t)
	for signal, room := range map[string]int{"spans": otlp.SpanQueue, "logs": otlp.LogQueue} {
		// A slow machine has given one message up meanwhile, and so found room.
		if failed, dropped := got[signal+" failed"], got[signal+" dropped"]; failed < room || failed+dropped != room+more || got[signal+" sent"] != 0 {
			t.Errorf("%d %s failed and %d were dropped; there is room for %d, %d more came", failed, signal, dropped, room, more)
		}
	}
	if lines := r.said.all(); len(lines) != 1 || !strings.Contains(lines[0], "more waits than the collector takes") {
		t.Errorf("said %q, want one line", lines)
	}
}

// Nothing listens.
func TestUnreachableCollector(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := open(t, otlp.Endpoint{Address: "127.0.0.1:1"})
	r.spans(10)
	if took := time.Since(began); took > 9*time.Second { // a try takes 10 s
		t.Errorf("%v to open and to make spans", took)
	}
	until(t, "spans that fail", func() bool { return r.counts(t)["spans failed"] == 10 })
	// They were sent together, unless the second at which that happens fell between two.
	if lines := r.said.all(); len(lines) != 1 || !strings.Contains(lines[0], "lost=") {
		t.Errorf("said %q, want one line", lines)
	}
	if took := r.close(); took > otlp.FlushTime+20*time.Second {
		t.Errorf("closed after %v", took)
	}
}

func TestRefusingCollector(t *testing.T) {
	sink := otlptest.Start(t)
	sink.Refuse(status.Error(codes.PermissionDenied, "who are you"))
	r := open(t, otlp.Endpoint{Address: sink.Address})
	r.spans(3)
	until(t, "spans that fail", func() bool { return r.counts(t)["spans failed"] == 3 })
	sink.Refuse(nil)
	r.spans(2)
	until(t, "spans that come", func() bool { return r.counts(t)["spans sent"] == 2 })
	if lines := r.said.all(); len(lines) != 1 || !strings.Contains(lines[0], "who are you") {
		t.Errorf("said %q, want one line", lines)
	}
}

// TestLossesAreToldRarely: once a minute, with the number of all since.
func TestLossesAreToldRarely(t *testing.T) {
	sink := otlptest.Start(t)
	sink.Refuse(status.Error(codes.PermissionDenied, "no"))
	var mu sync.Mutex
	now := time.Unix(1e9, 0)
	r := open(t, otlp.Endpoint{Address: sink.Address}, func(c *otlp.Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	for i := range 3 {
		r.spans(1)
		until(t, "a span that fails", func() bool { return r.counts(t)["spans failed"] == i+1 })
	}
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	r.spans(1)
	until(t, "a second line", func() bool { return len(r.said.all()) == 2 })
	if lines := r.said.all(); !strings.Contains(lines[0], "lost=1") || !strings.Contains(lines[1], "lost=3") {
		t.Errorf("said %q", lines)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	// httptest knows how to make a certificate.
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	sink := otlptest.Start(t, grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))

	good := open(t, otlp.Endpoint{Address: sink.Address, TLS: true}, func(c *otlp.Config) {
		c.TLS = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	})
	good.spans(1)
	good.close()
	if len(sink.Spans()) != 1 {
		t.Errorf("%d spans came", len(sink.Spans()))
	}

	// One that nobody vouches for is sent nothing, nor is one without TLS.
	var bad []*rig
	for _, e := range []otlp.Endpoint{{Address: sink.Address, TLS: true}, {Address: sink.Address}} {
		r := open(t, e)
		r.spans(1)
		bad = append(bad, r)
	}
	for _, r := range bad {
		until(t, "a span that fails", func() bool { return r.counts(t)["spans failed"] == 1 })
	}
	if len(sink.Spans()) != 1 {
		t.Errorf("%d spans came", len(sink.Spans()))
	}
}

// The id of a trace may be given without that of a parent: spans relies on it.
func TestTraceWithoutParent(t *testing.T) {
	sink := otlptest.Start(t)
	r := open(t, otlp.Endpoint{Address: sink.Address})
	id := trace.TraceID{1, 2, 3}
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: id}))
	_, s := r.Tracer().Start(ctx, "root")
	s.End()
	r.close()
	if got := sink.Spans(); len(got) != 1 || got[0].TraceID != id.String() || got[0].Parent != "" {
		t.Errorf("spans %+v", got)
	}
}
