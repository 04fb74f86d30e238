package telemetry

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Repositories are the metrics of what goes into repositories and of what
// caches do. Formats and types of repositories are fixed sets.
type Repositories struct {
	group
	ingested *prometheus.CounterVec
	bytes    prometheus.Counter
	duration prometheus.Histogram
	uploads  prometheus.Gauge
	received prometheus.Histogram
	kept     prometheus.Histogram
	chunks   prometheus.Gauge
	chunked  prometheus.Counter
	cache    *prometheus.CounterVec
	// children are the counters of labels seen before.
	children sync.Map // [3]string → prometheus.Counter
}

// NewRepositories makes the metrics.
func NewRepositories() *Repositories {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: slow})
	}
	r := &Repositories{
		ingested: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ingest_total", Help: "Files that were stored, by whether their content was known before.",
		}, []string{"dedup", "format", "repo_type"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ingest_bytes_total", Help: "Bytes of the files that were stored.",
		}),
		duration: histogram("ingest_duration_seconds", "Time from the first byte of an upload until its files were stored."),
		uploads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "uploads_in_flight", Help: "Uploads under way.",
		}),
		received: histogram("upload_blob_write_seconds", "Time to read the body of an upload, hash it, and stream it to the blob store if it is long."),
		kept:     histogram("upload_kv_commit_seconds", "Time from the end of an upload's bodies until their records were durable."),
		chunks: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "docker_uploads_active", Help: "Requests that are sending bytes of an image to an upload session.",
		}),
		chunked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "docker_upload_bytes_total", Help: "Bytes of images that upload sessions have taken.",
		}),
		cache: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cache_requests_total", Help: "Files and upstream documents that caches were asked for, by what came of it.",
		}, []string{"result", "format"}),
	}
	r.group = group{r.ingested, r.bytes, r.duration, r.uploads, r.received, r.kept, r.chunks, r.chunked, r.cache}
	return r
}

// child finds the counter for labels without hashing them twice.
func (r *Repositories) child(of *prometheus.CounterVec, key [3]string, values ...string) prometheus.Counter {
	v, ok := r.children.Load(key)
	if !ok {
		v, _ = r.children.LoadOrStore(key, of.WithLabelValues(values...))
	}
	return v.(prometheus.Counter)
}

// UploadBegan counts an upload that begins.
func (r *Repositories) UploadBegan() { r.uploads.Inc() }

// UploadEnded counts one that ended, however.
func (r *Repositories) UploadEnded() { r.uploads.Dec() }

// Received counts a body that was taken.
func (r *Repositories) Received(took time.Duration) { r.received.Observe(took.Seconds()) }

// Committed counts an upload whose records are durable: took since its bodies
// were there, whole since it began.
func (r *Repositories) Committed(took, whole time.Duration) {
	r.kept.Observe(took.Seconds())
	r.duration.Observe(whole.Seconds())
}

// Ingested counts a file that was stored.
func (r *Repositories) Ingested(format, repositoryType string, known bool, size int64) {
	dedup := strconv.FormatBool(known)
	r.child(r.ingested, [3]string{dedup, format, repositoryType}, dedup, format, repositoryType).Inc()
	r.bytes.Add(float64(size))
}

// ChunkBegan counts a request that begins to send bytes to an upload session.
func (r *Repositories) ChunkBegan() { r.chunks.Inc() }

// ChunkEnded counts one that has ended, and what was taken of it.
func (r *Repositories) ChunkEnded(taken int64) {
	r.chunks.Dec()
	r.chunked.Add(float64(taken))
}

// Cached counts what came of a question to a cache: hit, miss, error or
// stale_serve.
func (r *Repositories) Cached(format, result string) {
	r.child(r.cache, [3]string{"", result, format}, result, format).Inc()
}
