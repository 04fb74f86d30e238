package spans_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"granary/telemetry"
	"granary/telemetry/spans"
)

// recorder keeps the spans of a tracer.
func recorder(c spans.Config) (*spans.Tracer, *tracetest.SpanRecorder) {
	r := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r)).Tracer("test")
	c.Tracer = func() trace.Tracer { return tracer }
	return spans.New(c), r
}

func request(traceparent ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPut, "/repository/files/a?secret=1", nil)
	for _, v := range traceparent {
		r.Header.Add("Traceparent", v)
	}
	return r
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	sampled      = "00-" + callersTrace + "-" + callersSpan + "-01"
	unsampled    = "00-" + callersTrace + "-" + callersSpan + "-00"
)

func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes() {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestRequest(t *testing.T) {
	tracer, r := recorder(spans.Config{Ratio: 1})
	in := request(sampled)
	in.Header.Set("Tracestate", "vendor=x")
	out, root := tracer.Request(in)
	if root.TraceID() != callersTrace {
		t.Errorf("trace %q, want the caller's", root.TraceID())
	}
	if trace.SpanContextFromContext(out.Context()).SpanID() != root.SpanContext().SpanID() {
		t.Error("the request's context does not have the span")
	}
	root.Answered("/repository/{repo}/{path}", &telemetry.Request{
		ID: "id", Username: "alice", IP: "192.0.2.1", Method: "PUT", Path: "/repository/files/\xff", Status: 503, Action: "file", BytesRecv: 7, BytesSent: 9,
	})
	got := r.Ended()
	if len(got) != 1 {
		t.Fatalf("%d spans", len(got))
	}
	s := got[0]
	if s.Name() != "PUT /repository/{repo}/{path}" || s.SpanKind() != trace.SpanKindServer || s.Status().Code != codes.Error ||
		s.Parent().SpanID().String() != callersSpan || s.SpanContext().TraceState().String() != "vendor=x" {
		t.Errorf("span %+v", s)
	}
	want := map[string]string{
		"http.request.method": "PUT", "http.route": "/repository/{repo}/{path}", "url.path": "/repository/files/\uFFFD",
		"http.response.status_code": "503", "error.type": "503", "http.request.body.size": "7", "http.response.body.size": "9",
		"client.address": "192.0.2.1", "user.name": "alice", "granary.action": "file", "granary.request_id": "id",
	}
	attrs := attributes(s)
	for key, value := range want {
		if attrs[key] != value {
			t.Errorf("%s is %q, want %q", key, attrs[key], value)
		}
	}
	if len(attrs) != len(want) {
		t.Errorf("attributes %v, want %d", attrs, len(want))
	}
}

// Methods that clients invent become no name.
func TestInventedMethod(t *testing.T) {
	tracer, r := recorder(spans.Config{Ratio: 1})
	in := request()
	in.Method = "BREW"
	_, root := tracer.Request(in)
	root.Answered("unmatched", &telemetry.Request{Method: "BREW", Status: 405})
	if s := r.Ended()[0]; s.Name() != "_OTHER unmatched" || attributes(s)["http.request.method"] != "_OTHER" || s.Status().Code != codes.Unset {
		t.Errorf("span %q, %v, %v", s.Name(), attributes(s), s.Status())
	}
}

// TestSampling: what a caller asks for, the ratio, and the limit.
func TestSampling(t *testing.T) {
	for _, c := range []struct {
		name             string
		ratio, perSecond float64
		traceparent      []string
		requests         int
		want             int
	}{
		{"all", 1, 0, nil, 50, 50},
		{"none", 0, 0, nil, 50, 0},
		{"limit", 1, 10, nil, 50, 10},
		{"limit below one", 1, 0.5, nil, 50, 1},
		{"limit of nothing", 0, 10, nil, 50, 0},
		{"caller wants", 0, 10, []string{sampled}, 5, 5},
		{"caller wants more than the limit", 0, 10, []string{sampled}, 50, 10},
		{"caller wants all without a limit", 0, 0, []string{sampled}, 50, 0},
		{"caller does not want", 1, 10, []string{unsampled}, 50, 0},
		{"caller does not want, without a limit", 1, 0, []string{unsampled}, 50, 0},
		{"caller's trace, without a limit", 1, 0, []string{sampled}, 50, 50},
		{"no trace id", 1, 0, []string{"00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01"}, 5, 5},
		{"no traceparent", 0, 10, []string{"nonsense"}, 5, 0},
		{"no span id", 0, 10, []string{"00-" + callersTrace + "-0000000000000000-01"}, 5, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			tracer, _ := recorder(spans.Config{Ratio: c.ratio, PerSecond: c.perSecond, Now: func() time.Time { return now }})
			got := 0
			for range c.requests {
				if _, root := tracer.Request(request(c.traceparent...)); root != nil {
					got++
				}
			}
			if got != c.want {
				t.Errorf("%d of %d are traced, want %d", got, c.requests, c.want)
			}
		})
	}
}

func TestLimitComesBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	tracer, _ := recorder(spans.Config{Ratio: 1, PerSecond: 4, Now: func() time.Time { return now }})
	count := func() (n int) {
		for range 20 {
			if _, root := tracer.Request(request()); root != nil {
				n++
			}
		}
		return n
	}
	if n := count(); n != 4 {
		t.Errorf("%d at first, want 4", n)
	}
	now = now.Add(500 * time.Millisecond)
	if n := count(); n != 2 {
		t.Errorf("%d after half a second, want 2", n)
	}
	now = now.Add(time.Hour)
	if n := count(); n != 4 {
		t.Errorf("%d after an hour, want 4", n)
	}
}

// TestRatio: of ids that nobody chose, as many as the ratio says; of one id,
// always the same.
func TestRatio(t *testing.T) {
	tracer, _ := recorder(spans.Config{Ratio: .25})
	const n = 20_000
	got := 0
	for range n {
		if _, root := tracer.Request(request()); root != nil {
			got++
		}
	}
	if got < n/4-n/40 || got > n/4+n/40 {
		t.Errorf("%d of %d are traced, want a quarter", got, n)
	}
	sdk := sdktrace.TraceIDRatioBased(.25)
	for range 1000 {
		var id trace.TraceID
		for i := range id {
			id[i] = byte(rand.UintN(256))
		}
		_, root := tracer.Request(request("00-" + id.String() + "-" + callersSpan + "-01"))
		want := sdk.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: id}).Decision == sdktrace.RecordAndSample
		if (root != nil) != want {
			t.Errorf("%v: traced %v, others that go by the ratio say %v", id, root != nil, want)
		}
	}
}

// TestCostOfNoTrace: nothing is made for what isn't traced.
func TestCostOfNoTrace(t *testing.T) {
	none, _ := recorder(spans.Config{})
	spent, _ := recorder(spans.Config{Ratio: 1, PerSecond: 1, Now: func() time.Time { return time.Unix(1e9, 0) }})
	spent.Request(request())
	in := request()
	for name, tracer := range map[string]*spans.Tracer{"off": nil, "ratio": none, "limit": spent} {
		n := testing.AllocsPerRun(100, func() {
			out, root := tracer.Request(in)
			if out != in || root != nil || root.TraceID() != "" {
				t.Error("traced")
			}
			root.Answered("/", &telemetry.Request{})
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

var results = []string{"success", "not_found", "conflict", "throttled"}

func TestOperations(t *testing.T) {
	tracer, r := recorder(spans.Config{Ratio: 1})
	ops := spans.NewOperations(tracer, "kv", []string{"get", "put_if"}, results)
	in, root := tracer.Request(request())
	ctx, cancel := context.WithCancel(context.WithoutCancel(in.Context()))
	defer cancel()
	for op, result := range []int{1, 3} {
		ops.Trace(ctx, op)(result)
	}
	if ops.Trace(t.Context(), 0) != nil {
		t.Error("a call for nothing that is traced has a span")
	}
	root.Answered("/", &telemetry.Request{Status: 200})
	got := r.Ended()
	if len(got) != 3 {
		t.Fatalf("%d spans", len(got))
	}
	for i, want := range []struct {
		name, result string
		status       codes.Code
	}{{"kv.get", "not_found", codes.Unset}, {"kv.put_if", "throttled", codes.Error}} {
		s := got[i]
		if s.Name() != want.name || attributes(s)["granary.result"] != want.result || s.Status().Code != want.status || s.SpanKind() != trace.SpanKindClient ||
			s.Parent().SpanID() != root.SpanContext().SpanID() || s.SpanContext().TraceID() != root.SpanContext().TraceID() {
			t.Errorf("span %+v, want %+v", s, want)
		}
	}
}

// A request that asks the stores for ever has no spans for ever.
func TestSpansBelowAreBounded(t *testing.T) {
	tracer, r := recorder(spans.Config{Ratio: 1})
	ops := spans.NewOperations(tracer, "kv", []string{"get"}, results)
	in, root := tracer.Request(request())
	const n = 5000
	for range n {
		if end := ops.Trace(in.Context(), 0); end != nil {
			end(0)
		}
	}
	root.Answered("/", &telemetry.Request{Status: 200})
	got := r.Ended()
	if len(got) != spans.Most+1 {
		t.Errorf("%d spans, want %d and the root", len(got), spans.Most)
	}
	if left := attributes(got[len(got)-1])["granary.spans_left_out"]; left != strconv.Itoa(n-spans.Most) {
		t.Errorf("%q are said to be left out of %d", left, n)
	}
}

// A call that isn't traced costs no allocation.
func TestCostOfCalls(t *testing.T) {
	tracer, _ := recorder(spans.Config{})
	ops := spans.NewOperations(tracer, "kv", []string{"get"}, results)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if ops.Trace(ctx, 0) != nil {
			t.Error("traced")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An upstream is told of the span that asks it, and of what the caller said to
// those who come after.
func TestUpstream(t *testing.T) {
	tracer, r := recorder(spans.Config{Ratio: 1})
	in := request(sampled)
	in.Header.Set("Tracestate", "vendor=x")
	in, root := tracer.Request(in)
	for _, end := range []struct {
		status int
		err    error
	}{{200, nil}, {404, nil}, {502, nil}, {0, errors.New("connect to 192.0.2.7: refused")}} {
		h := http.Header{}
		tracer.Upstream(in.Context(), "GET", "a.example.com:443", "https://a.example.com/x", h)(end.status, end.err)
		s := r.Ended()[len(r.Ended())-1]
		if want := "00-" + callersTrace + "-" + s.SpanContext().SpanID().String() + "-01"; h.Get("Traceparent") != want || h.Get("Tracestate") != "vendor=x" {
			t.Errorf("upstream was sent %v, want %q", h, want)
		}
		attrs := attributes(s)
		failed := end.err != nil || end.status >= 500
		if s.Name() != "upstream.get" || s.SpanKind() != trace.SpanKindClient || s.Parent().SpanID() != root.SpanContext().SpanID() ||
			attrs["server.address"] != "a.example.com:443" || attrs["url.full"] != "https://a.example.com/x" || (s.Status().Code == codes.Error) != failed {
			t.Errorf("%+v: span %+v, %v", end, s, attrs)
		}
		if got := attrs["http.response.status_code"]; end.status != 0 && got != strconv.Itoa(end.status) || end.status == 0 && got != "" {
			t.Errorf("%+v: status %q", end, got)
		}
	}
	for name, tracer := range map[string]*spans.Tracer{"off": nil, "on": tracer} {
		h := http.Header{}
		if tracer.Upstream(t.Context(), "GET", "a.example.com", "https://a.example.com/x", h) != nil || len(h) != 0 {
			t.Errorf("%s: a request for nothing that is traced: %v", name, h)
		}
	}
}

func TestPassOn(t *testing.T) {
	for traceparent, want := range map[string]string{
		sampled: sampled, unsampled: unsampled, "": "", "nonsense\r\nX: y": "", "00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01": "",
	} {
		from, h := http.Header{"Tracestate": {"vendor=x"}, "Authorization": {"secret"}}, http.Header{}
		if traceparent != "" {
			from.Set("Traceparent", traceparent)
		}
		spans.PassOn(from, h)
		state, most := "vendor=x", 2
		if want == "" {
			state, most = "", 0
		}
		if h.Get("Traceparent") != want || h.Get("Tracestate") != state || len(h) != most {
			t.Errorf("%q is passed on as %v", traceparent, h)
		}
	}
}

func TestTask(t *testing.T) {
	tracer, r := recorder(spans.Config{Ratio: 1, PerSecond: 2, Now: func() time.Time { return time.Unix(1e9, 0) }})
	ops := spans.NewOperations(tracer, "kv", []string{"get"}, results)
	for _, outcome := range []string{"done", "failed"} {
		ctx, ended := tracer.Task(t.Context(), "blob_gc")
		for range 300 {
			if end := ops.Trace(ctx, 0); end != nil {
				end(0)
			}
		}
		ended(outcome)
	}
	if _, ended := tracer.Task(t.Context(), "blob_gc"); ended != nil {
		t.Error("the limit does not hold for tasks")
	}
	got := r.Ended()
	if len(got) != 202 {
		t.Fatalf("%d spans, want two tasks and 100 below each", len(got))
	}
	for i, want := range map[int]string{100: "done", 201: "failed"} {
		s := got[i]
		if attrs := attributes(s); s.Name() != "task blob_gc" || attrs["granary.result"] != want || attrs["granary.spans_left_out"] != "200" ||
			s.Parent().SpanID().IsValid() || got[i-1].Parent().SpanID() != s.SpanContext().SpanID() || (s.Status().Code == codes.Error) != (want == "failed") {
			t.Errorf("span %+v, %v", s, attrs)
		}
	}
	ctx, ended := (*spans.Tracer)(nil).Task(t.Context(), "blob_gc")
	if ctx != t.Context() || ended != nil {
		t.Error("a task is traced without a tracer")
	}
}
