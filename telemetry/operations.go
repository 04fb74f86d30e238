package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fast are the bounds in seconds of what usually takes less than a
// millisecond, slow of what may take minutes.
var (
	fast = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}
	slow = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300, 1800}
)

// group is several metrics that are registered as one.
type group []prometheus.Collector

// Describe implements [prometheus.Collector].
func (g group) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range g {
		m.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (g group) Collect(ch chan<- prometheus.Metric) {
	for _, m := range g {
		m.Collect(ch)
	}
}

// Operations are the metrics of calls to a store: how many, how long, and how
// many at once. All series are there from the start, at zero.
type Operations struct {
	group
	total    [][]prometheus.Counter // by op and result
	duration []prometheus.Observer  // by op
	inFlight prometheus.Gauge
}

// NewOperations makes the metrics <prefix>_operations_total,
// <prefix>_operation_duration_seconds and <prefix>_ops_in_flight. ops and
// results are names for labels; calls are told by their places in them.
func NewOperations(prefix, what string, ops, results []string, bounds ...float64) *Operations {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "_operations_total", Help: "Operations of " + what + " that have ended.",
	}, []string{"op", "result"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: prefix + "_operation_duration_seconds", Help: "Time that " + what + " took for an operation.", Buckets: bounds,
	}, []string{"op"})
	o := &Operations{inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "_ops_in_flight", Help: "Operations of " + what + " under way.",
	})}
	for _, op := range ops {
		var counters []prometheus.Counter
		for _, result := range results {
			counters = append(counters, total.WithLabelValues(op, result))
		}
		o.total = append(o.total, counters)
		o.duration = append(o.duration, duration.WithLabelValues(op))
	}
	o.group = group{total, duration, o.inFlight}
	return o
}

// Begin counts an operation that begins.
func (o *Operations) Begin() { o.inFlight.Inc() }

// End counts one that has ended; op and result are places in the names.
func (o *Operations) End(op, result int, took time.Duration) {
	o.inFlight.Dec()
	o.total[op][result].Inc()
	o.duration[op].Observe(took.Seconds())
}

// KeyValue are the metrics of a key-value store.
type KeyValue struct {
	*Operations
	compactions prometheus.Histogram
	failures    prometheus.Counter
}

// NewKeyValue makes them; ops and results are as for [NewOperations].
func NewKeyValue(ops, results []string) *KeyValue {
	k := &KeyValue{
		Operations: NewOperations("kv_store", "the key-value store", ops, results, fast...),
		compactions: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kv_compact_duration_seconds", Help: "Time that the embedded key-value store took to merge files.", Buckets: slow,
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kv_compact_failures_total", Help: "Merges of files by the embedded key-value store that failed and are tried again.",
		}),
	}
	k.group = append(k.group, k.compactions, k.failures)
	return k
}

// Compacted counts a merge of files.
func (k *KeyValue) Compacted(took time.Duration, err error) {
	if err != nil {
		k.failures.Inc()
		return
	}
	k.compactions.Observe(took.Seconds())
}

// Blobs are the metrics of all blob stores together.
type Blobs struct {
	*Operations
	read, written prometheus.Counter
}

// NewBlobs makes them; ops and results are as for [NewOperations].
func NewBlobs(ops, results []string) *Blobs {
	b := &Blobs{
		Operations: NewOperations("blob_store", "the blob stores", ops, results, slow...),
		read: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "blob_store_read_bytes_total", Help: "Bytes that came out of the blob stores.",
		}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "blob_store_written_bytes_total", Help: "Bytes that went into the blob stores, also those that were given up.",
		}),
	}
	b.group = append(b.group, b.read, b.written)
	return b
}

// Read counts bytes that came out.
func (b *Blobs) Read(n int64) { b.read.Add(float64(n)) }

// Written counts bytes that went in.
func (b *Blobs) Written(n int64) { b.written.Add(float64(n)) }
