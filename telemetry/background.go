package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Background are the metrics of what is written about records after the fact,
// and of clean-ups.
type Background struct {
	group
	counts, accesses prometheus.Histogram
	cleanups         prometheus.Histogram
}

// NewBackground makes the metrics. dropped returns how many changes of counters
// and last accesses were dropped since the start because too many waited.
func NewBackground(dropped func() (counts, accesses int64)) *Background {
	batch := prometheus.ExponentialBuckets(1, 4, 8)
	b := &Background{
		counts: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dir_flush_batch_size", Help: "Counters of directories and repositories that were written together.", Buckets: batch,
		}),
		accesses: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atime_flush_batch_size", Help: "Last accesses that were written together.", Buckets: batch,
		}),
		cleanups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cleanup_tick_duration_seconds", Help: "Time that a clean-up by the rules of repositories took.", Buckets: slow,
		}),
	}
	b.group = group{
		b.counts, b.accesses, b.cleanups,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "update_events_dropped_total", Help: "Changes of counters that were dropped because too many waited; the collector counts anew.",
		}, func() float64 { n, _ := dropped(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "atime_events_dropped_total", Help: "Last accesses that were dropped because too many waited.",
		}, func() float64 { _, n := dropped(); return float64(n) }),
	}
	return b
}

// CountsWritten counts a batch of counters.
func (b *Background) CountsWritten(n int) { b.counts.Observe(float64(n)) }

// AccessesWritten counts a batch of last accesses.
func (b *Background) AccessesWritten(n int) { b.accesses.Observe(float64(n)) }

// Cleaned counts a clean-up.
func (b *Background) Cleaned(took time.Duration) { b.cleanups.Observe(took.Seconds()) }
