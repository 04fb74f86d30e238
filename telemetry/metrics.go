package telemetry

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counters of the HTTP surface, in a registry that other parts
// add theirs to.
type Metrics struct {
	Registry *prometheus.Registry

	requests *prometheus.CounterVec
	inFlight prometheus.Gauge
	duration *prometheus.HistogramVec
	auth     *prometheus.CounterVec
	// children holds the counter and histogram of label values seen before, so
	// that a request does not hash them twice.
	children sync.Map // labels → *child
}

type labels struct {
	method, route string
	status        int
}

type child struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

// NewMetrics makes the metrics in a registry of their own.
func NewMetrics() (*Metrics, error) {
	httpLabels := []string{"http_request_method", "http_route", "http_response_status_code"}
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests answered.",
		}, httpLabels),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "http_requests_in_flight", Help: "Requests being answered.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time from the header of a request to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, httpLabels),
		auth: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "auth_attempts_total", Help: "Requests by how their sender was told.",
		}, []string{"method", "result"}),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.inFlight, m.duration, m.auth,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// Handler answers with the metrics in the text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Begin counts a request that begins.
func (m *Metrics) Begin() { m.inFlight.Inc() }

// End counts a request that is answered. route is a template, never a path.
func (m *Metrics) End(method, route string, status int, took time.Duration) {
	m.inFlight.Dec()
	k := labels{Method(method), route, status}
	v, ok := m.children.Load(k)
	if !ok {
		code := strconv.Itoa(status)
		v, _ = m.children.LoadOrStore(k, &child{
			requests: m.requests.WithLabelValues(k.method, route, code),
			duration: m.duration.WithLabelValues(k.method, route, code),
		})
	}
	c := v.(*child)
	c.requests.Inc()
	c.duration.Observe(took.Seconds())
}

// The results of authentication.
const (
	Success = "success"
	Failure = "failure"
)

// Auth counts how a request's sender was told: method is jwt, basic, unknown
// or anonymous.
func (m *Metrics) Auth(method, result string) {
	m.auth.WithLabelValues(method, result).Inc()
}

// Method returns the method for a label: those that HTTP and WebDAV clients
// invent are one.
func Method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete,
		http.MethodPatch, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "_OTHER"
}
