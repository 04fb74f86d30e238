package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"granary/repo/config"
	"granary/telemetry/spans"
)

// traced is a rig that traces into a recorder.
func traced(t *testing.T) (*rig, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	r := newRig(t, func(c *Config) {
		c.Traces = spans.New(spans.Config{Tracer: func() trace.Tracer { return tracer }, Ratio: 1})
	})
	r.Create("files", config.Hosted, "raw", nil)
	return r, recorder
}

// Names are routes, whatever a client asks for; health is not traced.
func TestSpansOfRequests(t *testing.T) {
	r, recorder := traced(t)
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader("hello")).status(201)
	r.do("admin", "GET", "/repository/files/x?token=hunter2", nil).status(200)
	r.do("", "GET", "/repository/files/x", nil).status(401)
	r.do("admin", "GET", "/api/v1/repositories/files", nil).status(200)
	r.do("admin", "GET", "/some/path", nil).status(404)
	r.do("admin", "BREW", "/repository/files/x", nil)
	r.do("admin", "GET", "/v2/", nil).status(200)
	for _, path := range []string{"/live", "/ready", "/health", "/healthz", "/api/v1/health"} {
		r.do("", "GET", path, nil).status(200)
	}
	var names []string
	for _, s := range recorder.Ended() {
		names = append(names, s.Name())
		for _, a := range s.Attributes() {
			if strings.Contains(a.Value.String(), "hunter2") {
				t.Errorf("%s of %s is %s", a.Key, s.Name(), a.Value.String())
			}
		}
	}
	want := []string{
		"PUT /repository/{repo}/{path}", "GET /repository/{repo}/{path}", "GET /repository/{repo}/{path}", "GET /api/v1/repositories/{name}",
		"GET unmatched", "_OTHER /repository/{repo}/{path}", "GET /v2/{name}",
	}
	if !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
}

// A line of the request log names the trace of its span, whoever began it.
func TestTraceOfRequestLog(t *testing.T) {
	r, recorder := traced(t)
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader("hello")).status(201)
	r.do("admin", "GET", "/repository/files/x", nil, "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").status(200)
	// Not traced here, but its caller has an id for it.
	r.do("admin", "GET", "/repository/files/x", nil, "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00").status(200)
	var logged []string
	for line := range strings.Lines(r.log.String()) {
		var l struct {
			TraceID string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		logged = append(logged, l.TraceID)
	}
	ended := recorder.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans, want 2", len(ended))
	}
	want := []string{ended[0].SpanContext().TraceID().String(), "4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737"}
	if !slices.Equal(logged, want) {
		t.Errorf("logged %q, want %q", logged, want)
	}
	if ended[1].SpanContext().TraceID().String() != want[1] || ended[1].Parent().SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("the caller's trace does not go on: %v below %v", ended[1].SpanContext(), ended[1].Parent())
	}
}

// A request that panics has a span too, which says so.
func TestSpanOfPanic(t *testing.T) {
	r, recorder := traced(t)
	r.Create("probed", config.Hosted, r.probe.Name(), nil)
	r.probe.call = func(http.ResponseWriter, *http.Request) error { panic("no") }
	r.do("admin", "POST", "/repository/probed/call", nil).status(http.StatusInternalServerError)
	ended := recorder.Ended()
	if len(ended) != 1 || ended[0].Status().Code != codes.Error {
		t.Errorf("spans %v", ended)
	}
}
