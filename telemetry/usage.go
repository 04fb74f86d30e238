package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Usage is how much a repository holds.
type Usage struct {
	Repository, Format, Type, Store string
	Artifacts, Bytes                int64
}

// maxRepositories is for how many repositories there are series; what the
// others hold is in one, whose labels are all Others.
const maxRepositories = 1000

// Others stands for the repositories without series of their own.
const Others = "_other"

// usageLasts is how long what repositories hold is taken as it was read.
const usageLasts = 10 * time.Second

// Usages are gauges of what repositories hold, read when they are asked for
// but not more often than each ten seconds. Names of repositories are
// configuration; there are series for a thousand of them at the most.
type Usages struct {
	read             func() ([]Usage, error)
	failed           func(error)
	now              func() time.Time
	artifacts, bytes *prometheus.Desc

	mu   sync.Mutex // held while they are read
	last []Usage    // guarded by mu
	at   time.Time  // guarded by mu
}

var _ prometheus.Collector = (*Usages)(nil)

// NewUsages makes the gauges. read returns what there is; where it fails what
// was read last stands, and failed is told.
func NewUsages(read func() ([]Usage, error), failed func(error), now func() time.Time) *Usages {
	labels := []string{"repo", "format", "repo_type", "store"}
	return &Usages{
		read: read, failed: failed, now: now,
		artifacts: prometheus.NewDesc("depot_repository_artifacts", "Artifacts in a repository, an estimate that follows within seconds.", labels, nil),
		bytes:     prometheus.NewDesc("depot_repository_bytes", "Bytes of the artifacts in a repository, an estimate that follows within seconds.", labels, nil),
	}
}

// Describe implements [prometheus.Collector].
func (u *Usages) Describe(ch chan<- *prometheus.Desc) {
	ch <- u.artifacts
	ch <- u.bytes
}

// Collect implements [prometheus.Collector].
func (u *Usages) Collect(ch chan<- prometheus.Metric) {
	for _, one := range u.current() {
		labels := []string{one.Repository, one.Format, one.Type, one.Store}
		ch <- prometheus.MustNewConstMetric(u.artifacts, prometheus.GaugeValue, float64(one.Artifacts), labels...)
		ch <- prometheus.MustNewConstMetric(u.bytes, prometheus.GaugeValue, float64(one.Bytes), labels...)
	}
}

// current is what was read within usageLasts.
func (u *Usages) current() []Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	if !u.at.IsZero() && now.Sub(u.at) < usageLasts {
		return u.last
	}
	list, err := u.read()
	u.at = now
	if err != nil {
		u.failed(err)
		return u.last
	}
	u.last = bounded(list)
	return u.last
}

// bounded keeps those that hold most, and adds up the others.
func bounded(list []Usage) []Usage {
	if len(list) <= maxRepositories {
		return list
	}
	slices.SortFunc(list, func(a, b Usage) int {
		switch {
		case a.Bytes > b.Bytes:
			return -1
		case a.Bytes < b.Bytes:
			return 1
		}
		return strings.Compare(a.Repository, b.Repository)
	})
	rest := Usage{Repository: Others, Format: Others, Type: Others, Store: Others}
	for _, one := range list[maxRepositories:] {
		rest.Artifacts += one.Artifacts
		rest.Bytes += one.Bytes
	}
	return append(list[:maxRepositories:maxRepositories], rest)
}
