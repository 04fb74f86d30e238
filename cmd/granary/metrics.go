package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"granary/blob"
	blobmeter "granary/blob/meter"
	"granary/cluster/task"
	kvmeter "granary/kv/meter"
	"granary/repo/config"
	"granary/telemetry"
	"granary/telemetry/spans"
)

// instruments are what the parts of a node are counted with.
type instruments struct {
	kv           *telemetry.KeyValue
	blobs        *telemetry.Blobs
	repositories *telemetry.Repositories
	background   *telemetry.Background
	collections  *telemetry.Collections
	tasks        *telemetry.Tasks // of the kinds that openTasks makes
}

func (n *node) newInstruments() *instruments {
	return &instruments{
		kv:           telemetry.NewKeyValue(kvmeter.Ops, kvmeter.Results),
		blobs:        telemetry.NewBlobs(blobmeter.Ops, blobmeter.Results),
		repositories: telemetry.NewRepositories(),
		background: telemetry.NewBackground(func() (counts, accesses int64) {
			s := n.records.Stats()
			return s.CountsDropped, s.AccessesDropped
		}),
		collections: telemetry.NewCollections(),
	}
}

// register shows the instruments of a node that has been started.
func (n *node) register(m *telemetry.Metrics) error {
	usages := telemetry.NewUsages(n.usages, func(err error) { n.log.Warn("count artifacts for metrics", "error", err) }, wallClock)
	i := n.instruments
	for _, c := range []prometheus.Collector{i.kv, i.blobs, i.repositories, i.background, i.collections, i.tasks, n.out.exports, usages} {
		if err := m.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// metered is the key-value store with its meter.
type metered struct {
	*kvmeter.Store
	io.Closer
}

// meter counts what is done with a key-value store, and shows it in traces.
func (i *instruments) meter(s database, traces *spans.Tracer) database {
	return metered{kvmeter.New(s, struct {
		kvmeter.Observer
		*spans.Operations
	}{i.kv, spans.NewOperations(traces, "kv", kvmeter.Ops, kvmeter.Results)}), s}
}

// openStore opens a blob store, counts what is done with it, and shows that in
// traces.
func (n *node) openStore(ctx context.Context, s *config.Store) (blob.Store, error) {
	bs, err := openStore(ctx, s, n.parts)
	if err != nil {
		return nil, err
	}
	return blobmeter.New(bs, struct {
		blobmeter.Observer
		*spans.Operations
	}{n.instruments.blobs, spans.NewOperations(n.out.traces, "blob", blobmeter.Ops, blobmeter.Results)}), nil
}

const (
	usageTime   = 10 * time.Second // for all repositories together
	usageAtOnce = 8
)

// taskMetrics counts tasks, and shows them in traces.
type taskMetrics struct {
	*telemetry.Tasks
	traces *spans.Tracer
}

var _ task.Tracer = taskMetrics{}

func (m taskMetrics) Trace(ctx context.Context, kind string) (context.Context, func(outcome string)) {
	return m.traces.Task(ctx, kind)
}

func (m taskMetrics) Over(kind string, status task.Status, took time.Duration) {
	m.Tasks.Over(kind, string(status), took)
}

func newTaskMetrics(kinds []task.Kind) *telemetry.Tasks {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name())
	}
	return telemetry.NewTasks(names, task.Outcomes, []string{string(task.Completed), string(task.Failed), string(task.Cancelled)})
}

// usages reads what repositories hold. Groups hold nothing of their own.
func (n *node) usages() ([]telemetry.Usage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), usageTime)
	defer cancel()
	var mu sync.Mutex
	var out []telemetry.Usage
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(usageAtOnce)
	for _, c := range n.registry.Repositories() {
		if c.Type == config.Proxy {
			continue
		}
		g.Go(func() error {
			count, bytes, err := n.repos.Usage(ctx, c.ID)
			if err != nil && !errors.Is(err, config.ErrNotFound) {
				return err
			}
			store := ""
			if s, ok := n.registry.StoreByID(c.Store); ok {
				store = s.Name
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, telemetry.Usage{Repository: c.Name, Format: c.Format, Type: string(c.Type), Store: store, Artifacts: count, Bytes: bytes})
			return nil
		})
	}
	err := g.Wait()
	return out, err
}
