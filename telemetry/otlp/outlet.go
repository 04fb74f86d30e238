package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Outlet leads spans and logs to collectors that may be others, or none, at any
// time.
type Outlet struct {
	config Config // without an endpoint
	spans  atomic.Pointer[Exporter]
	logs   atomic.Pointer[Exporter]

	mu     sync.Mutex
	open   map[Endpoint]*Exporter // guarded by mu
	closed bool                   // guarded by mu
	ending sync.WaitGroup         // of exporters that send their last
}

// NewOutlet leads nowhere until [Outlet.Lead]. The endpoint of c is not used.
func NewOutlet(c Config) *Outlet { return &Outlet{config: c, open: map[Endpoint]*Exporter{}} }

// Lead sends spans and logs to these collectors from now on; the zero Endpoint
// is none. What waits for one that is left goes there still, for [FlushTime] at
// most. Where a way can't be made all stays as it was.
func (o *Outlet) Lead(spans, logs Endpoint) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return errors.New("telemetry has ended")
	}
	for _, e := range []Endpoint{spans, logs} {
		if e == (Endpoint{}) || o.open[e] != nil {
			continue
		}
		c := o.config
		c.Endpoint = e
		x, err := Open(c)
		if err != nil {
			o.leave()
			return err
		}
		o.open[e] = x
	}
	o.spans.Store(o.open[spans])
	o.logs.Store(o.open[logs])
	o.leave()
	return nil
}

// leave ends the exporters that nothing leads to.
func (o *Outlet) leave() {
	for e, x := range o.open {
		if x == o.spans.Load() || x == o.logs.Load() {
			continue
		}
		delete(o.open, e)
		o.ending.Go(func() {
			if err := x.Close(); err != nil {
				o.config.Log.Warn("leave a collector of telemetry", "address", e.Address, "error", err)
			}
		})
	}
}

// Tracer makes spans for the collector of now, nil if there is none.
func (o *Outlet) Tracer() trace.Tracer {
	x := o.spans.Load()
	if x == nil {
		return nil
	}
	return x.Tracer()
}

// Handler is [Exporter.Handler] of the collector of now. It takes nothing while
// there is none.
func (o *Outlet) Handler(scope string, least slog.Level) slog.Handler {
	return &led{outlet: o, least: least, made: func(x *Exporter) slog.Handler { return x.Handler(scope, least) }}
}

// Close is [Exporter.Close] for all collectors.
func (o *Outlet) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.spans.Store(nil)
	o.logs.Store(nil)
	var errs []error
	var mu sync.Mutex
	var all sync.WaitGroup
	for e, x := range o.open {
		all.Go(func() {
			if err := x.Close(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("collector at %s: %w", e.Address, err))
			}
		})
	}
	all.Wait()
	o.ending.Wait()
	return errors.Join(errs...)
}

// led is a handler of whichever exporter there is.
type led struct {
	outlet *Outlet
	least  slog.Level
	made   func(*Exporter) slog.Handler
	last   atomic.Pointer[ledTo]
}

// ledTo is what was made for an exporter.
type ledTo struct {
	exporter *Exporter
	handler  slog.Handler
}

// Enabled implements [slog.Handler].
func (l *led) Enabled(_ context.Context, level slog.Level) bool {
	return level >= l.least && l.outlet.logs.Load() != nil
}

// Handle implements [slog.Handler].
func (l *led) Handle(ctx context.Context, r slog.Record) error {
	x := l.outlet.logs.Load()
	if x == nil {
		return nil
	}
	to := l.last.Load()
	if to == nil || to.exporter != x {
		to = &ledTo{x, l.made(x)}
		l.last.Store(to)
	}
	return to.handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (l *led) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &led{outlet: l.outlet, least: l.least, made: func(x *Exporter) slog.Handler { return l.made(x).WithAttrs(attrs) }}
}

// WithGroup implements [slog.Handler].
func (l *led) WithGroup(name string) slog.Handler {
	return &led{outlet: l.outlet, least: l.least, made: func(x *Exporter) slog.Handler { return l.made(x).WithGroup(name) }}
}
