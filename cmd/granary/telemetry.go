package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"granary/cluster"
	"granary/repo/config"
	"granary/telemetry"
	"granary/telemetry/otlp"
	"granary/telemetry/spans"
)

// outlook is what is seen of a node from outside beside its metrics: its logs,
// and its traces.
type outlook struct {
	log, requests *slog.Logger
	traces        *spans.Tracer
	exports       *telemetry.Exports
	outlet        *otlp.Outlet
	// first is the id of the node at its start, which telemetry goes by.
	first string

	configured otlp.Endpoint // of the configuration; the zero value is none
	standard   *slog.Logger  // to standard error only
}

// openOutlook adds the way to a collector to the logs.
func openOutlook(c *Config, level slog.Level, log, requests slog.Handler) (*outlook, error) {
	o := &outlook{exports: telemetry.NewExports(), first: cluster.NewID(), standard: slog.New(log)}
	if c.Telemetry.OTLPEndpoint != "" {
		var err error
		if o.configured, err = otlp.ParseEndpoint(c.Telemetry.OTLPEndpoint); err != nil {
			return nil, err
		}
	}
	o.outlet = otlp.NewOutlet(otlp.Config{
		ServiceName: c.Telemetry.ServiceName, Environment: c.Telemetry.Environment, Version: version,
		Instance: o.first, Exports: o.exports, Log: o.standard,
	})
	if err := o.outlet.Lead(o.configured, o.configured); err != nil {
		return nil, err
	}
	o.traces = spans.New(spans.Config{
		Tracer: o.outlet.Tracer, Ratio: c.Telemetry.SamplingRatio, PerSecond: c.Telemetry.MaxTracesPerSec, Now: wallClock,
	})
	o.log = slog.New(slog.NewMultiHandler(log, o.outlet.Handler("granary", level)))
	o.requests = slog.New(slog.NewMultiHandler(requests, o.outlet.Handler("granary/requests", slog.LevelInfo)))
	return o, nil
}

// follow leads telemetry where the settings say, until ctx ends. They come
// before the configuration, each for its signal.
func (o *outlook) follow(ctx context.Context, settings func() *config.Settings) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last *config.Settings
	for {
		if now := settings(); now != last {
			last = now
			if err := o.lead(now); err != nil {
				o.standard.Warn("follow the settings of telemetry", "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (o *outlook) lead(s *config.Settings) error {
	traces, logs := o.configured, o.configured
	for _, x := range []struct {
		to   *otlp.Endpoint
		name string
		text string
	}{{&traces, "tracing_endpoint", s.TracingEndpoint}, {&logs, "logging.otlp_endpoint", s.LogEndpoint()}} {
		if x.text == "" {
			continue
		}
		var err error
		if *x.to, err = otlp.ParseEndpoint(x.text); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	return o.outlet.Lead(traces, logs)
}

// close sends what waits for collectors.
func (o *outlook) close() error { return o.outlet.Close() }

// nodeIDs returns what makes the ids of this node: the first is known before
// the node joins its cluster.
func (o *outlook) nodeIDs() func() string {
	id := o.first
	return func() string {
		next := id
		id = cluster.NewID()
		return next
	}
}
