package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadConfigOrder(t *testing.T) {
	path := write(t, "granary.yaml", "http:\n  listen: 127.0.0.1:1\nexternal_url: https://file.example.com\nkv:\n  dynamodb:\n    table: fromfile\n")
	c, err := loadConfig(sources{
		file:    path,
		environ: []string{"GRANARY_HTTP_LISTEN=127.0.0.1:2", "GRANARY_KV_DYNAMODB_MAX_RETRIES=7", "GRANARY_KV_DYNAMODB_READ_TIMEOUT=9s", "GRANARY_TRUSTED_PROXIES=10.0.0.1,10.0.0.2", "HOME=/x"},
		flags:   map[string]any{"http.listen": "127.0.0.1:3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.HTTP.Listen, "127.0.0.1:3"; got != want {
		t.Errorf("http.listen = %q, want the flag's %q", got, want)
	}
	if got, want := c.ExternalURL, "https://file.example.com"; got != want {
		t.Errorf("external_url = %q, want the file's %q", got, want)
	}
	if c.KV.DynamoDB.Table != "fromfile" || c.KV.DynamoDB.MaxRetries != 7 || c.KV.DynamoDB.ReadTimeout != 9*time.Second {
		t.Errorf("kv.dynamodb = %+v", c.KV.DynamoDB)
	}
	if len(c.TrustedProxies) != 2 {
		t.Errorf("trusted_proxies = %q, want two", c.TrustedProxies)
	}
	if got, want := c.KV.Type, "pebble"; got != want {
		t.Errorf("kv.type = %q, want the default %q", got, want)
	}
}

func TestLoadConfigBesideData(t *testing.T) {
	path := write(t, "granary.yaml", "http: {listen: '127.0.0.1:9'}\ninitialization:\n  repositories: [{name: files, repo_type: hosted, format: raw}]\n")
	c, err := loadConfig(sources{environ: []string{"GRANARY_DATA=" + filepath.Dir(path)}})
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != "127.0.0.1:9" || len(c.Initialization.Repositories) != 1 {
		t.Errorf("configuration beside the data was not read: %+v", c)
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":    "htpp: {listen: ':1'}\n",
		"kv type":        "kv: {type: mysql}\n",
		"no listener":    "http: {listen: ''}\n",
		"https alone":    "https: {listen: ':1'}\n",
		"short secret":   "secret_key: short\n",
		"log level":      "log_level: loud\n",
		"not yaml":       "{",
		"wrong type":     "http: 7\n",
		"wrong duration": "shutdown_timeout: soon\n",
		"soon dead":      "cluster: {beat: 10s, dead: 15s}\n",
		"no beat":        "cluster: {beat: 0s}\n",
		"negative rate":  "audit_rate: -1\n",
		"small parts":    "part_memory: 8388607\n",
		"ratio":          "telemetry: {sampling_ratio: 1.01}\n",
		"negative ratio": "telemetry: {sampling_ratio: -0.1}\n",
		"no ratio":       "telemetry: {sampling_ratio: .nan}\n",
		"fewer traces":   "telemetry: {max_traces_per_sec: -1}\n",
		"more traces":    "telemetry: {max_traces_per_sec: .inf}\n",
		"nameless":       "telemetry: {service_name: ''}\n",
		"endpoint":       "telemetry: {otlp_endpoint: 'http://collector:4318/v1/traces'}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := loadConfig(sources{file: write(t, "c.yaml", text)}); err == nil {
				t.Errorf("%q was taken", text)
			}
		})
	}
	if _, err := loadConfig(sources{file: filepath.Join(t.TempDir(), "none.yaml")}); err == nil {
		t.Error("a named file that is missing was taken")
	}
}

// TestLoadConfigSays: a start that fails says in one line which key is wrong.
func TestLoadConfigSays(t *testing.T) {
	for text, want := range map[string]string{
		"htpp: {listen: ':1'}\n":                     "configuration: there is no key htpp.listen",
		"http: {lisen: ':1'}\nkvv: 1\n":              "configuration: there are no keys http.lisen, kvv",
		"http: {listen: {port: 1}}\n":                "configuration: 'http.listen' expected type 'string'",
		"http: 7\n":                                  "configuration: 'http' expected a map",
		"shutdown_timeout: soon\n":                   "configuration: 'shutdown_timeout' time: invalid duration",
		"initialization: {repos: []}\n":              "configuration: there is no key initialization.repos",
		"upstream_denied: [10.0.0.0/8]\n":            "configuration: there is no key upstream_denied",
		"telemetry: {otlp_endpoint: 'grpc://c:1'}\n": `telemetry.otlp_endpoint: "grpc://c:1" begins with grpc://`,
		"telemetry_sampling_ratio: 2\n":              "telemetry.sampling_ratio is 2; 0 to 1 are possible",
		"telemetry: {max_traces_per_sec: many}\n":    "configuration: 'telemetry.max_traces_per_sec' cannot parse value",
		"http: {listen: x}\nupstream_deny: 7":        "",
		"initialization: {settings: {x: 1}}\n":       "",
	} {
		_, err := loadConfig(sources{file: write(t, "c.yaml", text)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFlatKeys(t *testing.T) {
	c, err := loadConfig(sources{
		file:    write(t, "c.yaml", "upstream_deny: [10.0.0.0/8]\nupstream_allow: [10.1.0.0/16]\nkv_dynamodb_table: flat\nmetrics_listen: ':9'\n"),
		environ: []string{"GRANARY_UPSTREAM_ALLOW=10.2.0.0/16"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Upstream.Deny; len(got) != 1 || got[0] != "10.0.0.0/8" {
		t.Errorf("upstream.deny = %q", got)
	}
	if got := c.Upstream.Allow; len(got) != 1 || got[0] != "10.2.0.0/16" {
		t.Errorf("upstream.allow = %q, want the variable's", got)
	}
	if c.KV.DynamoDB.Table != "flat" || c.MetricsListen != ":9" {
		t.Errorf("table %q, metrics %q", c.KV.DynamoDB.Table, c.MetricsListen)
	}
}

func TestTelemetryKeys(t *testing.T) {
	c, err := loadConfig(sources{})
	if want := (TelemetryConfig{ServiceName: "granary", MaxTracesPerSec: 100, SamplingRatio: 1}); err != nil || c.Telemetry != want {
		t.Errorf("by default %+v, %v, want %+v", c.Telemetry, err, want)
	}
	c, err = loadConfig(sources{
		file: write(t, "c.yaml", "telemetry: {otlp_endpoint: 'collector:4317', service_name: artifacts, max_traces_per_sec: 7}\n"),
		environ: []string{
			"GRANARY_TELEMETRY_OTLP_ENDPOINT=http://127.0.0.1:4317", "GRANARY_TELEMETRY_ENVIRONMENT=staging",
			"GRANARY_TELEMETRY_MAX_TRACES_PER_SEC=0", "GRANARY_TELEMETRY_SAMPLING_RATIO=0.25",
		},
	})
	want := TelemetryConfig{OTLPEndpoint: "http://127.0.0.1:4317", ServiceName: "artifacts", Environment: "staging", SamplingRatio: .25}
	if err != nil || c.Telemetry != want {
		t.Errorf("%+v, %v, want %+v", c.Telemetry, err, want)
	}
}

func TestUnknownVariables(t *testing.T) {
	got, err := unknownVariables([]string{
		"HOME=/x", "GRANARY_KV_TYP=x", "GRANARY_KV_TYPE=pebble", "GRANARY_TOKEN=x", "GRANARY_PORT=tcp://10.0.0.1:80", "GRANARY_SERVICE_HOST=x",
		"GRANARY_TELEMETRY_OTLP_ENDPOINT=x", "GRANARY_TELEMETRY_OTLP_ENDPOINTS=x", "GRANARY_UPSTREAM_DENY=10.0.0.0/8",
	})
	if want := []string{"GRANARY_KV_TYP", "GRANARY_TELEMETRY_OTLP_ENDPOINTS"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("unknown variables %q, %v, want %q", got, err, want)
	}
}

func TestMasked(t *testing.T) {
	c := defaults()
	c.AdminPassword, c.SecretKey = "hunter22", "0123456789abcdef"
	c.Stores = []map[string]any{{"name": "s", "store_type": "s3", "secret_key": "topsecret"}}
	c.Initialization.Users = []map[string]any{{"username": "u", "password": "sesame"}}
	m, err := c.masked()
	if err != nil {
		t.Fatal(err)
	}
	text := printable(m)
	for _, secret := range []string{"hunter22", "0123456789abcdef", "topsecret", "sesame"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is shown in %s", secret, text)
		}
	}
	if !strings.Contains(text, mask) {
		t.Errorf("no secret is masked in %s", text)
	}
}
