package integration_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"granary/integration/node"
	"granary/telemetry/otlptest"
)

// listed is a line of testdata/metrics.txt.
type listed struct {
	name, kind string
	labels     []string
	still      bool
}

func metricsList(t *testing.T) (out []listed) {
	t.Helper()
	b, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		l := listed{name: words[0], kind: words[1], labels: words[2:]}
		if slices.Equal(l.labels, []string{"still"}) {
			l.labels, l.still = nil, true
		}
		out = append(out, l)
	}
	return out
}

// scrape reads /metrics as Prometheus does.
func scrape(t *testing.T, n *node.Node) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(n.Want(http.StatusOK, http.MethodGet, "/metrics", nil)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// amount is what a family comes to, over the series that have the labels.
func amount(f *dto.MetricFamily, labels ...string) (sum float64) {
	for _, m := range f.GetMetric() {
		if !has(m, labels) {
			continue
		}
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			sum += float64(m.GetHistogram().GetSampleCount())
		case dto.MetricType_GAUGE:
			sum += m.GetGauge().GetValue()
		default:
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

func has(m *dto.Metric, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == labels[i] && l.GetValue() == labels[i+1] }) {
			return false
		}
	}
	return true
}

// seen remembers the most that each family has come to.
type seen struct {
	mu   sync.Mutex
	most map[string]float64 // guarded by mu
}

func (s *seen) look(t *testing.T, n *node.Node) map[string]*dto.MetricFamily {
	families := scrape(t, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, f := range families {
		s.most[name] = max(s.most[name], amount(f))
	}
	return families
}

// phase tells how long one took.
func phase(t *testing.T, name string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	t.Logf("%s: %v", name, time.Since(began).Round(time.Millisecond))
}

// until scrapes until the names have come to more than before.
func (s *seen) until(t *testing.T, n *node.Node, before map[string]*dto.MetricFamily, doing func(), names ...string) {
	t.Helper()
	var missing []string
	for began := time.Now(); time.Since(began) < 2*time.Minute; {
		doing()
		s.look(t, n)
		missing = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.most[name] > amount(before[name]) })
		if len(missing) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%q do not move", missing)
}

// Each metric of the list is there under its name, with its labels, and is
// moved by real requests.
func TestMetrics(t *testing.T) {
	clock := filepath.Join(t.TempDir(), "clock")
	setClock(t, clock, 0)
	n := node.Start(t, node.Options{Env: []string{"TEST_CLOCK_FILE=" + clock, "GRANARY_TELEMETRY_OTLP_ENDPOINT=http://" + otlptest.Start(t).Address}})
	n.Want(200, "PUT", "/api/v1/settings", strings.NewReader(`{"gc_min_interval_secs":0,"gc_grace_secs":0}`), "Content-Type", "application/json")
	before := scrape(t, n)
	s := &seen{most: map[string]float64{}}

	phase(t, "uploads", func() { upload(t, n) })
	phase(t, "strangers", func() { strangers(t, n) })
	phase(t, "caches", func() { caches(t, n) })
	phase(t, "slow uploads", func() { slowUploads(t, n, s, before) })
	phase(t, "many writes", func() { manyWrites(t, n, s, before) })
	phase(t, "clean-up", func() { cleanUp(t, n, s, before) })
	phase(t, "collection", func() { collect(t, n, s, before, clock) })

	after := s.look(t, n)
	for _, l := range metricsList(t) {
		f := after[l.name]
		if f == nil {
			t.Errorf("there is no %s", l.name)
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); kind != l.kind {
			t.Errorf("%s is a %s, not a %s", l.name, kind, l.kind)
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, p := range m.GetLabel() {
				labels = append(labels, p.GetName())
			}
			if !slices.Equal(labels, l.labels) {
				t.Errorf("%s has the labels %q, not %q", l.name, labels, l.labels)
			}
		}
		if moved := s.most[l.name] > amount(before[l.name]); moved == l.still {
			t.Errorf("%s has come from %v to %v", l.name, amount(before[l.name]), s.most[l.name])
		}
	}
	for _, c := range []struct {
		name   string
		labels []string
	}{
		{"auth_attempts_total", []string{"method", "anonymous", "result", "success"}},
		{"auth_attempts_total", []string{"method", "basic", "result", "success"}},
		{"auth_attempts_total", []string{"method", "basic", "result", "failure"}},
		{"auth_attempts_total", []string{"method", "jwt", "result", "failure"}},
		{"auth_attempts_total", []string{"method", "unknown", "result", "failure"}},
		{"ingest_total", []string{"dedup", "false", "format", "raw", "repo_type", "hosted"}},
		{"ingest_total", []string{"dedup", "true", "format", "raw", "repo_type", "hosted"}},
		{"ingest_total", []string{"dedup", "false", "format", "raw", "repo_type", "cache"}},
		{"ingest_total", []string{"dedup", "false", "format", "docker", "repo_type", "hosted"}},
		{"cache_requests_total", []string{"result", "hit", "format", "raw"}},
		{"cache_requests_total", []string{"result", "miss", "format", "raw"}},
		{"cache_requests_total", []string{"result", "error", "format", "raw"}},
		{"cache_requests_total", []string{"result", "stale_serve", "format", "raw"}},
		{"kv_store_operations_total", []string{"op", "put_if", "result", "success"}},
		{"kv_store_operations_total", []string{"op", "put_if", "result", "conflict"}},
		{"kv_store_operations_total", []string{"op", "get", "result", "not_found"}},
		{"blob_store_operations_total", []string{"op", "write", "result", "success"}},
		{"blob_store_operations_total", []string{"op", "read", "result", "success"}},
		{"depot_repository_artifacts", []string{"repo", "files", "format", "raw", "repo_type", "hosted", "store", "default"}},
		{"depot_repository_bytes", []string{"repo", "files"}},
	} {
		if amount(after[c.name], c.labels...) <= amount(before[c.name], c.labels...) {
			t.Errorf("%s of %q has not moved", c.name, c.labels)
		}
	}
	documented(t, after)
}

// upload stores short and long files, known and unknown ones, and reads them.
func upload(t *testing.T, n *node.Node) {
	t.Helper()
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	content := randomBytes(1 << 20)
	n.Want(http.StatusCreated, http.MethodPut, "/repository/files/short", strings.NewReader("short"))
	n.Want(http.StatusCreated, http.MethodPut, "/repository/files/a/long", bytes.NewReader(content))
	n.Want(http.StatusCreated, http.MethodPut, "/repository/files/b/long", bytes.NewReader(content))
	n.Want(http.StatusCreated, http.MethodPut, "/repository/files/short", strings.NewReader("other"))
	n.Want(http.StatusOK, http.MethodGet, "/repository/files/a/long", nil)
	n.Want(http.StatusOK, http.MethodGet, "/repository/files/short", nil)
	n.Want(http.StatusNotFound, http.MethodGet, "/repository/files/none", nil)
}

// strangers come without credentials, and with bad ones.
func strangers(t *testing.T, n *node.Node) {
	t.Helper()
	for _, header := range []string{"", "Basic eDp5", "Bearer x", "Odd x"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+"/repository/files/short", nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // read for its status
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: %s", header, resp.Status)
		}
	}
}

// caches asks one for what it has, has not, and can't get.
func caches(t *testing.T, n *node.Node) {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader("from afar"))
	}))
	defer up.Close()
	n.Create(fmt.Sprintf(`{"name":"cached","repo_type":"cache","format":"raw","upstream_url":%q}`, up.URL))
	n.Want(http.StatusOK, http.MethodGet, "/repository/cached/x", nil)
	n.Want(http.StatusOK, http.MethodGet, "/repository/cached/x", nil) // 304 by the upstream
	up.Close()
	n.Want(http.StatusOK, http.MethodGet, "/repository/cached/x", nil)
	n.Want(http.StatusBadGateway, http.MethodGet, "/repository/cached/y", nil)
}

// slowUploads are seen while they are under way.
func slowUploads(t *testing.T, n *node.Node, s *seen, before map[string]*dto.MetricFamily) {
	t.Helper()
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	resp, _ := n.Do(http.MethodPost, "/v2/images/app/blobs/uploads/", nil)
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || at == "" {
		t.Fatalf("begin: %s", resp.Status)
	}
	content := randomBytes(9 << 20) // more than is held in memory, so that it streams
	body, feed := io.Pipe()
	var sender sync.WaitGroup
	sender.Go(func() {
		resp, b, err := n.Try(t.Context(), http.MethodPatch, at, body)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Errorf("send a chunk: %v, %s", err, b)
		}
	})
	if _, err := feed.Write(content[:len(content)-1]); err != nil {
		t.Fatal(err)
	}
	s.until(t, n, before, func() {}, "uploads_in_flight", "docker_uploads_active", "http_requests_in_flight", "blob_store_ops_in_flight")
	if _, err := feed.Write(content[len(content)-1:]); err != nil {
		t.Fatal(err)
	}
	feed.Close() //nolint:errcheck // returns nil
	sender.Wait()
	n.Want(http.StatusCreated, http.MethodPut, fmt.Sprintf("%s?digest=sha256:%x", at, sha256.Sum256(content)), nil)
	after := s.look(t, n)
	for _, name := range []string{"uploads_in_flight", "docker_uploads_active"} {
		// It is answered a moment before it is counted as over.
		for end := time.Now().Add(patience); amount(after[name]) != 0 && time.Now().Before(end); after = s.look(t, n) {
			time.Sleep(20 * time.Millisecond)
		}
		if v := amount(after[name]); v != 0 {
			t.Errorf("%s is %v when all is done", name, v)
		}
	}
	if got := amount(after["docker_upload_bytes_total"]); got != float64(len(content)) {
		t.Errorf("docker_upload_bytes_total is %v, %d bytes were sent", got, len(content))
	}
}

// manyWrites are enough for the key-value store to merge its files.
func manyWrites(t *testing.T, n *node.Node, s *seen, before map[string]*dto.MetricFamily) {
	t.Helper()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; !t.Failed(); i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("/repository/files/many/%d/%d", w, i)
				resp, b, err := n.Try(t.Context(), http.MethodPut, path, bytes.NewReader(randomBytes(16<<10)))
				if err != nil || resp.StatusCode != http.StatusCreated {
					t.Errorf("put %s: %v, %s", path, err, b)
				}
			}
		})
	}
	s.until(t, n, before, func() {}, "kv_compact_duration_seconds", "kv_store_ops_in_flight")
	close(stop)
	writers.Wait()
}

// cleanUp applies the rules of a repository.
func cleanUp(t *testing.T, n *node.Node, s *seen, before map[string]*dto.MetricFamily) {
	t.Helper()
	n.Create(`{"name":"cleaned","repo_type":"hosted","format":"raw","cleanup_max_age_days":1}`)
	n.Want(http.StatusCreated, http.MethodPost, "/api/v1/repositories/cleaned/clean", strings.NewReader(`{}`), "Content-Type", "application/json")
	s.until(t, n, before, func() {}, "cleanup_tick_duration_seconds", "atime_flush_batch_size", "dir_flush_batch_size")
}

// collect lets the collector delete what a client deletes. What waits for the
// next round is shown only between two rounds, which follow one another as the
// clock runs, so that there is something to delete each time.
func collect(t *testing.T, n *node.Node, s *seen, before map[string]*dto.MetricFamily, clock string) {
	t.Helper()
	n.Want(http.StatusNoContent, http.MethodDelete, "/repository/files/a/long", nil)
	n.Want(http.StatusNoContent, http.MethodDelete, "/repository/files/b/long", nil)
	hours := 0
	s.until(t, n, before, func() {
		n.Want(http.StatusCreated, http.MethodPut, "/repository/files/brief", bytes.NewReader(randomBytes(128<<10)))
		n.Want(http.StatusNoContent, http.MethodDelete, "/repository/files/brief", nil)
		hours += 2
		setClock(t, clock, hours)
		n.Do(http.MethodPost, "/api/v1/tasks/gc", strings.NewReader(`{}`), "Content-Type", "application/json") // or one is running
		for range 4 {
			s.look(t, n)
			time.Sleep(50 * time.Millisecond)
		}
	}, "gc_pass_duration_seconds", "gc_orphan_candidates", "gc_deleted_dedup_refs_total", "gc_orphaned_blobs_deleted_total", "gc_orphaned_blob_bytes_deleted_total")
}

// documented holds the page for operators to what there is.
func documented(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	page, err := os.ReadFile("../docs/operations/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range families {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") || strings.HasPrefix(name, "promhttp_") {
			continue
		}
		row := fmt.Sprintf("| `%s` | %s |", name, strings.ToLower(f.GetType().String()))
		if !strings.Contains(string(page), row) {
			t.Errorf("the page on monitoring has no row %q", row)
		}
	}
	for line := range strings.Lines(string(page)) {
		name, found := strings.CutPrefix(line, "| `")
		if name, _, _ = strings.Cut(name, "`"); found && families[name] == nil {
			t.Errorf("the page on monitoring names %s, which there is not", name)
		}
	}
}
