package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collections are the metrics of the collector's rounds, as far as this node
// has closed them. They are registered like any other collector of metrics.
type Collections struct {
	duration   prometheus.Histogram
	candidates prometheus.Gauge
	references prometheus.Counter
	blobs      prometheus.Counter
	bytes      prometheus.Counter
}

var _ prometheus.Collector = (*Collections)(nil)

// NewCollections makes the metrics.
func NewCollections() *Collections {
	return &Collections{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gc_pass_duration_seconds", Help: "Time from the begin of a round's mark to its end.",
			Buckets: []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600},
		}),
		candidates: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gc_orphan_candidates", Help: "Contents and objects that the last round left for the next to judge.",
		}),
		references: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gc_deleted_dedup_refs_total", Help: "References deleted with their blobs.",
		}),
		blobs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gc_orphaned_blobs_deleted_total", Help: "Blobs deleted.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gc_orphaned_blob_bytes_deleted_total", Help: "Bytes of the blobs deleted.",
		}),
	}
}

// Collected counts a round.
func (c *Collections) Collected(took time.Duration, candidates, references, blobs, bytes int64) {
	c.duration.Observe(took.Seconds())
	c.candidates.Set(float64(candidates))
	c.references.Add(float64(references))
	c.blobs.Add(float64(blobs))
	c.bytes.Add(float64(bytes))
}

func (c *Collections) all() []prometheus.Collector {
	return []prometheus.Collector{c.duration, c.candidates, c.references, c.blobs, c.bytes}
}

// Describe implements [prometheus.Collector].
func (c *Collections) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.all() {
		m.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c *Collections) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.all() {
		m.Collect(ch)
	}
}
