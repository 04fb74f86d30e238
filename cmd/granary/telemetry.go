package main

import (
	"log/slog"

	"granary/cluster"
	"granary/telemetry"
	"granary/telemetry/otlp"
	"granary/telemetry/spans"
)

// outlook is what is seen of a node from outside beside its metrics: its logs,
// and its traces where they are sent somewhere.
type outlook struct {
	log, requests *slog.Logger
	traces        *spans.Tracer // nil without a collector
	exports       *telemetry.Exports
	exporter      *otlp.Exporter // nil without a collector
	// first is the id of the node at its start, which telemetry goes by.
	first string
}

// openOutlook adds a collector, if the configuration has one, to the logs.
func openOutlook(c *Config, level slog.Level, log, requests slog.Handler) (*outlook, error) {
	o := &outlook{log: slog.New(log), requests: slog.New(requests), exports: telemetry.NewExports(), first: cluster.NewID()}
	if c.Telemetry.OTLPEndpoint == "" {
		return o, nil
	}
	endpoint, err := otlp.ParseEndpoint(c.Telemetry.OTLPEndpoint)
	if err != nil {
		return nil, err
	}
	o.exporter, err = otlp.Open(otlp.Config{
		Endpoint: endpoint, ServiceName: c.Telemetry.ServiceName, Environment: c.Telemetry.Environment, Version: version,
		Instance: o.first, Exports: o.exports, Log: slog.New(log),
	})
	if err != nil {
		return nil, err
	}
	o.traces = spans.New(spans.Config{
		Tracer: o.exporter.Tracer(), Ratio: c.Telemetry.SamplingRatio, PerSecond: c.Telemetry.MaxTracesPerSec, Now: wallClock,
	})
	o.log = slog.New(slog.NewMultiHandler(log, o.exporter.Handler("granary", level)))
	o.requests = slog.New(slog.NewMultiHandler(requests, o.exporter.Handler("granary/requests", slog.LevelInfo)))
	return o, nil
}

// close sends what waits for the collector.
func (o *outlook) close() error {
	if o.exporter == nil {
		return nil
	}
	return o.exporter.Close()
}

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
