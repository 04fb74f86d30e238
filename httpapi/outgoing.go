package httpapi

import (
	"context"
	"log/slog"
	"net/http"

	"granary/httpapi/exchange"
	"granary/repo/config"
	"granary/repo/upstream"
	"granary/telemetry"
	"granary/telemetry/spans"
)

// Outgoing shows the requests that the server makes in the request log and in
// traces, beside the requests that they are made for.
type Outgoing struct {
	Traces     *spans.Tracer // optional
	RequestLog *slog.Logger
	Settings   func() *config.Settings
}

// Sends is [upstream.Config].Sends.
func (o *Outgoing) Sends(ctx context.Context, e upstream.Exchange, h http.Header) func(upstream.Exchange) {
	line := telemetry.Request{Method: e.Method, Path: e.URL, Action: "upstream", Direction: telemetry.Upstream}
	span := o.Traces.Upstream(ctx, e.Method, e.Host, e.URL, h)
	if x := exchange.From(ctx); x != nil {
		line.ID, line.Username, line.TraceID = x.ID, x.Identity.Name, x.TraceID
		if span == nil {
			spans.PassOn(x.Request().Header, h)
		}
	}
	return func(e upstream.Exchange) {
		if span != nil {
			span(e.Status, e.Err)
		}
		if o.Settings().AccessLog {
			line.Status, line.Elapsed = e.Status, e.Elapsed
			telemetry.LogRequest(context.WithoutCancel(ctx), o.RequestLog, &line)
		}
	}
}
