package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Tasks are the metrics of the work that nodes share, as far as this node does
// it.
type Tasks struct {
	group
	over      *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	shards    *prometheus.CounterVec
	took      *prometheus.HistogramVec
	overtaken *prometheus.CounterVec
	held      *prometheus.GaugeVec
}

// taskBounds are those of a task, in seconds.
var taskBounds = []float64{.1, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}

// NewTasks makes the metrics. Kinds, outcomes of shards and states of tasks that
// are over are names for labels; all series are there from the start.
func NewTasks(kinds, outcomes, states []string) *Tasks {
	t := &Tasks{
		over: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "granary_tasks_total", Help: "Tasks that this node has brought to their end.",
		}, []string{"kind", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "granary_task_duration_seconds", Help: "Time from the start of a task to its end, of those.", Buckets: taskBounds,
		}, []string{"kind"}),
		shards: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "granary_task_shards_total", Help: "Shards of tasks that this node was at, by what became of them.",
		}, []string{"kind", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "granary_task_shard_duration_seconds", Help: "Time that this node was at a shard.", Buckets: slow,
		}, []string{"kind"}),
		overtaken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "granary_task_shards_taken_over_total", Help: "Shards that this node took over from one that was dead.",
		}, []string{"kind"}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "granary_task_shards_held", Help: "Shards that this node is at.",
		}, []string{"kind"}),
	}
	t.group = group{t.over, t.duration, t.shards, t.took, t.overtaken, t.held}
	for _, k := range kinds {
		t.duration.WithLabelValues(k)
		t.took.WithLabelValues(k)
		t.overtaken.WithLabelValues(k)
		t.held.WithLabelValues(k)
		for _, o := range outcomes {
			t.shards.WithLabelValues(k, o)
		}
		for _, s := range states {
			t.over.WithLabelValues(k, s)
		}
	}
	return t
}

// Began counts a shard that this node claimed.
func (t *Tasks) Began(kind string, overtaken bool) {
	t.held.WithLabelValues(kind).Inc()
	if overtaken {
		t.overtaken.WithLabelValues(kind).Inc()
	}
}

// Ended counts what has become of it.
func (t *Tasks) Ended(kind, outcome string, took time.Duration) {
	t.held.WithLabelValues(kind).Dec()
	t.shards.WithLabelValues(kind, outcome).Inc()
	t.took.WithLabelValues(kind).Observe(took.Seconds())
}

// Over counts a task that this node has brought to its end.
func (t *Tasks) Over(kind, status string, took time.Duration) {
	t.over.WithLabelValues(kind, status).Inc()
	t.duration.WithLabelValues(kind).Observe(took.Seconds())
}
