package spans

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// child begins a span below the root of ctx, nil if ctx has none or the root
// has enough.
func (t *Tracer) child(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	root, ok := trace.SpanFromContext(ctx).(*Root)
	if !ok || root.below.Add(1) > root.most {
		return ctx, nil
	}
	tracer := t.tracer()
	if tracer == nil {
		return ctx, nil
	}
	return tracer.Start(ctx, name, trace.WithSpanKind(kind))
}

// Operations makes spans of calls to a store, which are told by numbers as to
// [granary/telemetry.Operations].
type Operations struct {
	tracer  *Tracer
	names   []string // by op
	results []result
}

type result struct {
	attribute attribute.KeyValue
	failed    bool
}

// usual are the results that are no failures of a store.
var usual = map[string]bool{"success": true, "not_found": true, "conflict": true, "aborted": true, "canceled": true}

// NewOperations makes spans that are called <prefix>.<op>.
func NewOperations(t *Tracer, prefix string, ops, results []string) *Operations {
	o := &Operations{tracer: t}
	for _, op := range ops {
		o.names = append(o.names, prefix+"."+op)
	}
	for _, r := range results {
		o.results = append(o.results, result{attribute.String("granary.result", r), !usual[r]})
	}
	return o
}

// Trace begins the span of a call. The function that it returns ends it; it is
// nil if the call isn't traced. op and result are places in the names.
func (o *Operations) Trace(ctx context.Context, op int) (end func(result int)) {
	_, span := o.tracer.child(ctx, o.names[op], trace.SpanKindClient)
	if span == nil {
		return nil
	}
	return func(result int) {
		r := o.results[result]
		span.SetAttributes(r.attribute)
		if r.failed {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
