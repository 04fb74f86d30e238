package integration_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"granary/integration/node"
	"granary/telemetry/otlptest"
)

// sent waits for spans of which f is true.
func sent(t *testing.T, sink *otlptest.Sink, what string, f func(otlptest.Span) bool) []otlptest.Span {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(20 * time.Millisecond) {
		all := slices.DeleteFunc(sink.Spans(), func(s otlptest.Span) bool { return !f(s) })
		if len(all) > 0 {
			return all
		}
	}
	t.Fatalf("no span of %s among %+v", what, sink.Spans())
	return nil
}

// at tells spans of requests for a path.
func at(method, path string) func(otlptest.Span) bool {
	return func(s otlptest.Span) bool {
		return s.Kind == trace.Span_SPAN_KIND_SERVER && s.Attributes["http.request.method"] == method && s.Attributes["url.path"] == path
	}
}

// requestLine is a line of the request log.
type requestLine struct {
	Msg, Path, Method, Direction string
	TraceID                      string `json:"trace_id"`
}

func requestLines(t *testing.T, output string) (out []requestLine) {
	t.Helper()
	for line := range strings.Lines(output) {
		var l requestLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "request" {
			out = append(out, l)
		}
	}
	return out
}

// TestTelemetry: a collector is sent the span of a request and of what was done
// for it, the lines of both logs, and, when the server is told to stop, what it
// had not been sent yet.
func TestTelemetry(t *testing.T) {
	sink := otlptest.Start(t)
	n := node.Start(t, node.Options{Env: []string{
		"GRANARY_TELEMETRY_OTLP_ENDPOINT=http://" + sink.Address, "GRANARY_TELEMETRY_SERVICE_NAME=artifacts",
		"GRANARY_TELEMETRY_ENVIRONMENT=test", "GRANARY_LOG_LEVEL=warn",
	}})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	const path, parent, callers = "/repository/files/a/long", "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"
	n.Want(http.StatusCreated, http.MethodPut, path+"?secret=hunter2", bytes.NewReader(randomBytes(1<<20)),
		"Traceparent", "00-"+callers+"-"+parent+"-01")

	root := sent(t, sink, "the upload", at("PUT", path))[0]
	if root.Name != "PUT /repository/{repo}/{path}" || root.Attributes["http.response.status_code"] != "201" || root.Failed ||
		root.TraceID != callers || root.Parent != parent || root.Attributes["user.name"] != "admin" {
		t.Errorf("span of the upload %+v", root)
	}
	if r := root.Resource; r["service.name"] != "artifacts" || r["deployment.environment.name"] != "test" || r["service.version"] == "" {
		t.Errorf("resource %v", r)
	}
	// What the stores did for it lies below it.
	ops := map[string]int{}
	for _, s := range sink.Spans() {
		if s.TraceID == root.TraceID && s.SpanID != root.SpanID {
			ops[s.Name]++
			if s.Parent != root.SpanID || s.Start < root.Start || s.Attributes["granary.result"] == "" {
				t.Errorf("span %+v is not below %+v", s, root)
			}
		}
	}
	if ops["kv.put_if"] == 0 || ops["blob.write"] == 0 {
		t.Errorf("the upload's spans are %v", ops)
	}
	var cluster struct {
		Nodes []struct{ ID string }
	}
	if err := json.Unmarshal(n.Want(http.StatusOK, http.MethodGet, "/api/v1/cluster", nil), &cluster); err != nil || len(cluster.Nodes) != 1 {
		t.Fatalf("%+v, %v", cluster, err)
	}
	if got, want := root.Resource["service.instance.id"], cluster.Nodes[0].ID; got != want {
		t.Errorf("service.instance.id is %q, want the node's %q", got, want)
	}

	n.Want(http.StatusOK, http.MethodGet, path, nil)
	download := sent(t, sink, "the download", at("GET", path))[0]
	below := func(name string) func(otlptest.Span) bool {
		return func(s otlptest.Span) bool {
			return s.Name == name && s.Parent == download.SpanID && s.TraceID == download.TraceID
		}
	}
	sent(t, sink, "the record's read", below("kv.get"))
	sent(t, sink, "the content's read", below("blob.read"))
	n.Want(http.StatusBadRequest, http.MethodGet, "/repository/files/%ff", nil) // not UTF-8
	n.Stop()
	if n.ExitCode() != 0 {
		t.Errorf("stopped with %d", n.ExitCode())
	}
	// The last requests are flushed, with the trace that the log names.
	lines := map[string]string{}
	for _, l := range requestLines(t, n.Output()) {
		lines[l.Method+" "+l.Path] = l.TraceID
	}
	for _, want := range []struct{ method, path string }{{"PUT", path}, {"GET", path}, {"GET", "/repository/files/\uFFFD"}} {
		spans := slices.DeleteFunc(sink.Spans(), func(s otlptest.Span) bool { return !at(want.method, want.path)(s) })
		logs := slices.DeleteFunc(sink.Logs(), func(l otlptest.Log) bool {
			return l.Attributes["method"] != want.method || l.Attributes["path"] != want.path
		})
		if len(spans) != 1 || len(logs) != 1 {
			t.Errorf("%v: %d spans and %d lines came", want, len(spans), len(logs))
			continue
		}
		if id := spans[0].TraceID; lines[want.method+" "+want.path] != id || logs[0].Attributes["trace_id"] != id || logs[0].TraceID != id ||
			logs[0].SpanID != spans[0].SpanID || logs[0].Scope != "granary/requests" || logs[0].Body != "request" {
			t.Errorf("%v: span %+v, line %+v, standard error %q", want, spans[0], logs[0], lines[want.method+" "+want.path])
		}
	}
	if !slices.ContainsFunc(sink.Logs(), func(l otlptest.Log) bool {
		return l.Scope == "granary" && l.Level == "WARN" && strings.Contains(l.Body, "secret_key is not set")
	}) {
		t.Errorf("the application's log is not among %+v", sink.Logs())
	}
	for _, s := range sink.Spans() {
		if strings.HasSuffix(s.Attributes["url.path"], "/health") {
			t.Errorf("health was traced: %+v", s)
		}
		for key, value := range s.Attributes {
			if strings.Contains(value, "hunter2") || strings.Contains(value, node.Password) {
				t.Errorf("%s of %s is %q", key, s.Name, value)
			}
		}
	}
}

// TestTelemetryOverTLS: https:// is TLS, with the authorities that the system,
// or SSL_CERT_FILE, names.
func TestTelemetryOverTLS(t *testing.T) {
	cert, key := node.Certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	sink := otlptest.Start(t, grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
	n := node.Start(t, node.Options{Env: []string{"GRANARY_TELEMETRY_OTLP_ENDPOINT=https://" + sink.Address, "SSL_CERT_FILE=" + cert}})
	n.Want(http.StatusOK, http.MethodGet, "/api/v1/repositories", nil)
	sent(t, sink, "a request", at("GET", "/api/v1/repositories"))
}

// TestTelemetryFollowsSettings: the settings name a collector for each signal
// while the server runs, before the one of the configuration.
func TestTelemetryFollowsSettings(t *testing.T) {
	configured, traces, logs := otlptest.Start(t), otlptest.Start(t), otlptest.Start(t)
	n := node.Start(t, node.Options{Env: []string{"GRANARY_TELEMETRY_OTLP_ENDPOINT=http://" + configured.Address}})
	set := func(body string) {
		t.Helper()
		n.Want(http.StatusOK, http.MethodPut, "/api/v1/settings", strings.NewReader(body), "Content-Type", "application/json")
	}
	// ask sends a request again and again until a collector has heard of it.
	ask := func(path string, spans, lines *otlptest.Sink) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			n.Want(http.StatusNotFound, http.MethodGet, path, nil)
			if slices.ContainsFunc(spans.Spans(), at("GET", path)) && slices.ContainsFunc(lines.Logs(), func(l otlptest.Log) bool { return l.Attributes["path"] == path }) {
				return
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("%s: spans %+v, lines %+v", path, spans.Spans(), lines.Logs())
			}
		}
	}
	ask("/api/v1/repositories/one", configured, configured)
	set(fmt.Sprintf(`{"tracing_endpoint":"http://%s","logging":{"otlp_endpoint":"http://%s"}}`, traces.Address, logs.Address))
	ask("/api/v1/repositories/two", traces, logs)
	if len(traces.Logs()) > 0 || len(logs.Spans()) > 0 {
		t.Errorf("%d lines went where spans go, and %d spans where lines go", len(traces.Logs()), len(logs.Spans()))
	}
	set(`{"tracing_endpoint":null,"logging":null}`)
	ask("/api/v1/repositories/three", configured, configured)
	set(`{"tracing_endpoint":"http://127.0.0.1:4318/v1/traces"}`)
	ask("/api/v1/repositories/four", configured, configured) // no collector for gRPC
	n.Stop()
	if n.ExitCode() != 0 || !strings.Contains(n.Output(), "OTLP over gRPC has no paths") {
		t.Errorf("stopped with %d; a setting that can't be followed was not told:\n%s", n.ExitCode(), n.Output())
	}
}

// TestTelemetryWithoutCollector: neither one that isn't there nor one that
// hangs keeps anybody waiting, nor the stop for long.
func TestTelemetryWithoutCollector(t *testing.T) {
	sink := otlptest.Start(t)
	sink.Hold()
	for name, endpoint := range map[string]string{"hangs": sink.Address, "is not there": "127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := node.Start(t, node.Options{Env: []string{"GRANARY_TELEMETRY_OTLP_ENDPOINT=http://" + endpoint, "GRANARY_TELEMETRY_MAX_TRACES_PER_SEC=0"}})
			n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
			for range 20 {
				n.Want(http.StatusCreated, http.MethodPut, "/repository/files/x", strings.NewReader("hello"))
			}
			began := time.Now()
			n.Stop()
			if took := time.Since(began); took > 25*time.Second || n.ExitCode() != 0 {
				t.Errorf("stopped after %v with %d", took, n.ExitCode())
			}
			if len(requestLines(t, n.Output())) < 21 {
				t.Errorf("the request log is not on standard error:\n%s", n.Output())
			}
		})
	}
}

// TestTraceThroughACache: one trace leads from the client of a cache through
// its upstream, and both logs name it.
func TestTraceThroughACache(t *testing.T) {
	sink := otlptest.Start(t)
	options := node.Options{Env: []string{"GRANARY_TELEMETRY_OTLP_ENDPOINT=http://" + sink.Address}}
	origin, cache := node.Start(t, options), node.Start(t, options)
	origin.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	origin.Want(http.StatusCreated, http.MethodPut, "/repository/files/x", strings.NewReader("hello"))
	cache.Create(fmt.Sprintf(`{"name":"mirror","repo_type":"cache","format":"raw","upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}}`,
		origin.URL+"/repository/files", node.Password))
	cache.Want(http.StatusOK, http.MethodGet, "/repository/mirror/x", nil)

	asked := sent(t, sink, "the request to the cache", at("GET", "/repository/mirror/x"))[0]
	call := sent(t, sink, "the request to the upstream", func(s otlptest.Span) bool { return s.Name == "upstream.get" && s.TraceID == asked.TraceID })[0]
	if call.Parent != asked.SpanID || call.Attributes["url.full"] != origin.URL+"/repository/files/x" || call.Attributes["http.response.status_code"] != "200" {
		t.Errorf("the upstream's span %+v is not below %+v", call, asked)
	}
	answered := sent(t, sink, "the upstream's own", func(s otlptest.Span) bool { return at("GET", "/repository/files/x")(s) && s.Parent == call.SpanID })[0]
	if answered.TraceID != asked.TraceID || answered.Resource["service.instance.id"] == asked.Resource["service.instance.id"] {
		t.Errorf("the upstream's own span %+v does not belong to %+v", answered, asked)
	}
	cache.Stop()
	if !slices.ContainsFunc(requestLines(t, cache.Output()), func(l requestLine) bool {
		return l.Direction == "upstream" && l.TraceID == asked.TraceID && l.Path == origin.URL+"/repository/files/x"
	}) {
		t.Error("the request log has no line of the upstream's answer")
	}
}
