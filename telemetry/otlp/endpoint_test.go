package otlp_test

import (
	"strings"
	"testing"

	"granary/telemetry/otlp"
)

func TestParseEndpoint(t *testing.T) {
	for s, want := range map[string]otlp.Endpoint{
		"http://collector:4317":        {Address: "collector:4317"},
		"http://collector:4317/":       {Address: "collector:4317"},
		"HTTP://collector:4317":        {Address: "collector:4317"},
		"http://collector":             {Address: "collector:4317"},
		"https://otel.example.com:443": {Address: "otel.example.com:443", TLS: true},
		"https://otel.example.com":     {Address: "otel.example.com:4317", TLS: true},
		"collector:55680":              {Address: "collector:55680", TLS: true},
		"collector":                    {Address: "collector:4317", TLS: true},
		"127.0.0.1:4317":               {Address: "127.0.0.1:4317", TLS: true},
		"http://[::1]:4317":            {Address: "[::1]:4317"},
		"[::1]:4317":                   {Address: "[::1]:4317", TLS: true},
		"http://[fd00::1]":             {Address: "[fd00::1]:4317"},
		"http://otel_collector:4317":   {Address: "otel_collector:4317"},
	} {
		if got, err := otlp.ParseEndpoint(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"":                            "is no http://host:port",
		"http://":                     "is no http://host:port",
		"http://:4317":                "is no http://host:port",
		":4317":                       "is no http://host:port",
		"grpc://collector:4317":       "begins with grpc://",
		"unix:///run/collector":       "begins with unix://",
		"http://collector:4318/v1":    "has more than host and port",
		"http://collector:4317?x=1":   "has more than host and port",
		"http://collector:4317?":      "has more than host and port",
		"http://collector:4317#x":     "has more than host and port",
		"http://user:pw@collector:1":  "there is user info",
		"http://collector:0":          "has no port between 1 and 65535",
		"http://collector:65536":      "has no port between 1 and 65535",
		"http://collector:":           "has an empty port",
		"http://collector:port":       "is no http://host:port",
		"http://co llector:4317":      "is no http://host:port",
		"http://collector,other:4317": "has a host that is no name",
		"http://::1:4317":             "",
	} {
		_, err := otlp.ParseEndpoint(s)
		switch {
		case err == nil:
			t.Errorf("%q was taken", s)
		case !strings.Contains(err.Error(), want):
			t.Errorf("%q: %v, want %q", s, err, want)
		case strings.Contains(err.Error(), "pw"):
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"http://collector:4317", "[::1]:4317", "https://a", "http://u:p@h:1/x?y#z", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := otlp.ParseEndpoint(s)
		if err != nil {
			return
		}
		scheme := "http://"
		if e.TLS {
			scheme = "https://"
		}
		again, err := otlp.ParseEndpoint(scheme + e.Address)
		if err != nil || again != e {
			t.Errorf("%q is %+v, which is %+v, %v", s, e, again, err)
		}
	})
}
