package spans

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"granary/telemetry"
)

// Upstream begins the span of a request to another server and tells that
// server of it, in h. url has no query and no user info, which may be secrets.
// The function that it returns ends the span; it is nil if the request isn't
// traced.
func (t *Tracer) Upstream(ctx context.Context, method, host, url string, h http.Header) (ended func(status int, err error)) {
	method = telemetry.Method(method)
	ctx, span := t.child(ctx, "upstream."+strings.ToLower(method), trace.SpanKindClient)
	if span == nil {
		return nil
	}
	w3c.Inject(ctx, propagation.HeaderCarrier(h))
	span.SetAttributes(attribute.String("http.request.method", method), text("server.address", host), text("url.full", url))
	return func(status int, err error) {
		switch {
		case err != nil:
			span.SetStatus(codes.Error, "")
			span.SetAttributes(attribute.String("error.type", "_OTHER"))
		case status >= http.StatusInternalServerError:
			span.SetStatus(codes.Error, "")
			span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
		}
		if status != 0 {
			span.SetAttributes(attribute.Int("http.response.status_code", status))
		}
		span.End()
	}
}

// PassOn tells another server of the trace that a request came with, in h, for
// a request that isn't traced here. What is no traceparent is not passed on.
func PassOn(from, h http.Header) {
	if from["Traceparent"] != nil {
		w3c.Inject(w3c.Extract(context.Background(), propagation.HeaderCarrier(from)), propagation.HeaderCarrier(h))
	}
}
