package spans

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"granary/telemetry"
)

// Config of a [Tracer].
type Config struct {
	// Tracer returns what makes the spans and records all of them, nil as long
	// as there are to be none.
	Tracer func() trace.Tracer
	// Ratio of new traces that are taken, 0 to 1.
	Ratio float64
	// PerSecond is how many traces may begin in a second; 0: any number.
	PerSecond float64
	// Now is the clock that PerSecond goes by. Optional.
	Now func() time.Time
}

// Tracer begins spans. A nil one begins none.
type Tracer struct {
	tracer  func() trace.Tracer
	sampler *sampler
}

// New returns a tracer.
func New(c Config) *Tracer {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Tracer{c.Tracer, newSampler(c.Ratio, c.PerSecond, c.Now)}
}

// w3c reads and writes traceparent and tracestate.
var w3c propagation.TraceContext

// How many spans a root may have below it. What comes after is left out, and
// its number told at the root.
const (
	most       = 1000
	mostOfTask = 100 // tasks ask the stores without end
)

// Root is the span of a request or a task. It is the parent of whatever is
// begun with the context that came with it. A nil one does nothing.
type Root struct {
	trace.Span
	most  int64
	below atomic.Int64 // of them, and of those left out
}

// Request begins the span of a request, which the returned request's context
// has; nil if it isn't traced.
func (t *Tracer) Request(r *http.Request) (*http.Request, *Root) {
	if t == nil {
		return r, nil
	}
	tracer := t.tracer()
	if tracer == nil {
		return r, nil
	}
	var caller trace.SpanContext
	if r.Header["Traceparent"] != nil {
		caller = trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
	}
	id := caller.TraceID()
	if !id.IsValid() {
		id = newTraceID()
	}
	if !t.sampler.take(id, caller) {
		return r, nil
	}
	if !caller.IsValid() {
		caller = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id})
	}
	ctx, root := begin(trace.ContextWithRemoteSpanContext(r.Context(), caller), tracer, telemetry.Method(r.Method), trace.SpanKindServer, most)
	return r.WithContext(ctx), root
}

// Task begins the span of a task's work at one of its shards. The function that
// it returns ends it; it is nil if the work isn't traced. kind is one of few.
func (t *Tracer) Task(ctx context.Context, kind string) (_ context.Context, ended func(outcome string)) {
	if t == nil {
		return ctx, nil
	}
	tracer := t.tracer()
	if tracer == nil {
		return ctx, nil
	}
	id := newTraceID()
	if !t.sampler.take(id, trace.SpanContext{}) {
		return ctx, nil
	}
	ctx, root := begin(trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id})), tracer,
		"task "+kind, trace.SpanKindInternal, mostOfTask)
	return ctx, func(outcome string) {
		root.SetAttributes(attribute.String("granary.result", outcome))
		if outcome == "failed" {
			root.SetStatus(codes.Error, "")
		}
		root.end()
	}
}

func begin(ctx context.Context, tracer trace.Tracer, name string, kind trace.SpanKind, most int64) (context.Context, *Root) {
	_, span := tracer.Start(ctx, name, trace.WithSpanKind(kind))
	root := &Root{Span: span, most: most}
	return trace.ContextWithSpan(ctx, root), root
}

// TraceID is 32 hex digits, "" for a root that is not there.
func (r *Root) TraceID() string {
	if r == nil {
		return ""
	}
	return r.SpanContext().TraceID().String()
}

// Answered ends the span of a request. route is a template, never a path.
func (r *Root) Answered(route string, q *telemetry.Request) {
	if r == nil {
		return
	}
	method := telemetry.Method(q.Method)
	r.SetName(method + " " + route)
	r.SetAttributes(
		attribute.String("http.request.method", method),
		attribute.String("http.route", route),
		text("url.path", q.Path),
		attribute.Int("http.response.status_code", q.Status),
		attribute.Int64("http.request.body.size", q.BytesRecv),
		attribute.Int64("http.response.body.size", q.BytesSent),
		text("client.address", q.IP),
		text("user.name", q.Username),
		attribute.String("granary.action", q.Action),
		text("granary.request_id", q.ID),
	)
	if q.Status >= http.StatusInternalServerError {
		r.SetStatus(codes.Error, "")
		r.SetAttributes(attribute.String("error.type", strconv.Itoa(q.Status)))
	}
	r.end()
}

func (r *Root) end() {
	if n := r.below.Load(); n > r.most {
		r.SetAttributes(attribute.Int64("granary.spans_left_out", n-r.most))
	}
	r.End()
}

// text is an attribute that a client may have invented. What is no UTF-8 would
// make a message unsendable.
func text(key, value string) attribute.KeyValue {
	return attribute.String(key, strings.ToValidUTF8(value, "\uFFFD"))
}
