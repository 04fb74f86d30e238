package httpapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/httpapi/exchange"
	"granary/repo/config"
	"granary/repo/upstream"
)

// TestOutgoing: what is asked of others is in the request log, with the id of
// the request that it is asked for, and the caller's trace goes on although
// nothing is traced here.
func TestOutgoing(t *testing.T) {
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var out strings.Builder
	settings := config.DefaultSettings()
	o := &Outgoing{RequestLog: slog.New(slog.NewJSONHandler(&out, nil)), Settings: func() *config.Settings { return &settings }}
	r := httptest.NewRequest(http.MethodGet, "/repository/cache/x", nil)
	r.Header.Set("Traceparent", traceparent)
	x, r := exchange.Begin(httptest.NewRecorder(), r, 0, nil)
	x.ID, x.TraceID, x.Identity.Name = "the-id", traceID(r.Header), "alice"

	e := upstream.Exchange{Method: "GET", Host: "a.example.com", URL: "https://a.example.com/x"}
	h := http.Header{}
	told := o.Sends(r.Context(), e, h)
	if h.Get("Traceparent") != traceparent {
		t.Errorf("the upstream is sent %v", h)
	}
	e.Status, e.Elapsed = 200, time.Second
	told(e)
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	for key, want := range map[string]any{
		"request_id": "the-id", "username": "alice", "method": "GET", "path": "https://a.example.com/x", "status": 200.0, "action": "upstream",
		"elapsed_ns": 1e9, "direction": "upstream", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}

	// Work that no request has asked for, and none that is logged.
	out.Reset()
	e.Status, e.Err = 0, errors.New("refused")
	o.Sends(t.Context(), e, h)(e)
	if !strings.Contains(out.String(), `"request_id":""`) || !strings.Contains(out.String(), `"status":0`) {
		t.Errorf("logged %q", out.String())
	}
	out.Reset()
	settings.AccessLog = false
	o.Sends(r.Context(), e, h)(e)
	if out.Len() != 0 {
		t.Errorf("logged %q although access_log is off", out.String())
	}
}
