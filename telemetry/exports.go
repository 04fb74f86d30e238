package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Signal is a kind of what is sent to a collector of OpenTelemetry.
type Signal string

// The signals.
const (
	Spans Signal = "spans"
	Logs  Signal = "logs"
)

// Fate is what became of something that was to be sent.
type Fate string

// The fates.
const (
	Sent   Fate = "sent"
	Failed Fate = "failed"  // the collector did not take it
	Full   Fate = "dropped" // too much waited already
)

// Exports counts what is sent to a collector. All series are there from the
// start, at zero, whether anything is sent or not.
type Exports struct {
	group
	counts map[Signal]map[Fate]prometheus.Counter
}

// NewExports makes the metric.
func NewExports() *Exports {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "granary_telemetry_items_total", Help: "Spans and log lines for a collector of OpenTelemetry, by what became of them.",
	}, []string{"signal", "result"})
	e := &Exports{group: group{v}, counts: map[Signal]map[Fate]prometheus.Counter{}}
	for _, s := range []Signal{Spans, Logs} {
		e.counts[s] = map[Fate]prometheus.Counter{}
		for _, f := range []Fate{Sent, Failed, Full} {
			e.counts[s][f] = v.WithLabelValues(string(s), string(f))
		}
	}
	return e
}

// Count adds n.
func (e *Exports) Count(s Signal, f Fate, n int) { e.counts[s][f].Add(float64(n)) }
