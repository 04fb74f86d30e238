package otlp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"granary/telemetry"
)

// queue bounds and counts what waits for the collector: it stands on both
// sides of a batch processor of the SDK, which drops too but does not tell.
type queue struct {
	signal  telemetry.Signal
	limit   int64
	waiting atomic.Int64
	ended   context.Context //nolint:containedctx // of the exporter: its end gives up what is being sent
	exports *telemetry.Exports
	losses  *losses
}

// take tells whether there is room for one more.
func (q *queue) take() bool {
	if q.waiting.Add(1) <= q.limit {
		return true
	}
	q.waiting.Add(-1)
	q.exports.Count(q.signal, telemetry.Full, 1)
	q.losses.add(1, errFull)
	return false
}

// send sends n items by f. What can't be sent is lost.
func (q *queue) send(ctx context.Context, n int, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.ended, cancel)()
	err := q.ended.Err()
	if err == nil {
		err = f(ctx)
	}
	q.waiting.Add(-int64(n))
	fate := telemetry.Sent
	if err != nil {
		fate = telemetry.Failed
		q.losses.add(n, err)
	}
	q.exports.Count(q.signal, fate, n)
}

var errFull = fmt.Errorf("more waits than the collector takes")

// sayEvery is how often losses are logged.
const sayEvery = time.Minute

// losses tells of them now and then.
type losses struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	lost int       // guarded by mu, since said
	said time.Time // guarded by mu
}

func (l *losses) add(n int, err error) {
	l.mu.Lock()
	l.lost += n
	lost, now := l.lost, l.now()
	quiet := !l.said.IsZero() && now.Sub(l.said) < sayEvery
	if !quiet {
		l.lost, l.said = 0, now
	}
	l.mu.Unlock()
	if !quiet {
		l.log.Warn("spans and log lines for the collector of telemetry are lost", "lost", lost, "error", err)
	}
}

// spanProcessor lets in what there is room for.
type spanProcessor struct {
	sdktrace.SpanProcessor
	queue *queue
}

func (p spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if p.queue.take() {
		p.SpanProcessor.OnEnd(s)
	}
}

// spanExporter counts what becomes of spans.
type spanExporter struct {
	sdktrace.SpanExporter
	queue *queue
}

// ExportSpans never fails: the SDK would only print the error.
func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.queue.send(ctx, len(spans), func(ctx context.Context) error { return e.SpanExporter.ExportSpans(ctx, spans) })
	return nil
}

// logProcessor lets in what there is room for.
type logProcessor struct {
	sdklog.Processor
	queue *queue
}

func (p logProcessor) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if !p.queue.take() {
		return nil
	}
	readable(r)
	return p.Processor.OnEmit(ctx, r)
}

// logExporter counts what becomes of log lines.
type logExporter struct {
	sdklog.Exporter
	queue *queue
}

// Export never fails: the SDK would only print the error.
func (e logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	e.queue.send(ctx, len(records), func(ctx context.Context) error { return e.Exporter.Export(ctx, records) })
	return nil
}
