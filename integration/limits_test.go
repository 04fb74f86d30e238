package integration_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"granary/integration/node"
)

// What bounds and guards every request, as a client of the real server meets it.
func TestLimitsFromOutside(t *testing.T) {
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	set := func(settings string) {
		n.Want(http.StatusOK, http.MethodPut, "/api/v1/settings", strings.NewReader(settings), "Content-Type", "application/json")
	}

	resp, _ := n.Do(http.MethodGet, "/api/v1/health", nil)
	for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if got := resp.Header.Get("Content-Security-Policy"); !strings.Contains(got, "frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy: %q", got)
	}

	// Sizes: of a body in JSON, of an artifact, of the header.
	n.Want(http.StatusRequestEntityTooLarge, http.MethodPost, "/api/v1/roles", strings.NewReader(`{"name":"x","description":"`+strings.Repeat("x", 2<<20)+`"}`),
		"Content-Type", "application/json")
	n.Want(http.StatusRequestHeaderFieldsTooLarge, http.MethodGet, "/api/v1/health", nil, "X-Long", strings.Repeat("x", 80<<10))
	set(`{"max_artifact_bytes":10}`)
	n.Want(http.StatusRequestEntityTooLarge, http.MethodPut, "/repository/files/x", strings.NewReader("more than ten bytes"))
	n.Want(http.StatusNotFound, http.MethodGet, "/repository/files/x", nil)

	preflight := func(origin string) http.Header {
		t.Helper()
		resp, _ := n.Do(http.MethodOptions, "/api/v1/repositories", nil, "Origin", origin, "Access-Control-Request-Method", "PUT")
		return resp.Header
	}
	if got := preflight("https://ui.example.com").Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("without a setting %q may ask", got)
	}
	set(`{"cors":{"allowed_origins":["https://ui.example.com"]}}`)
	if h := preflight("https://ui.example.com"); h.Get("Access-Control-Allow-Origin") != "https://ui.example.com" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") {
		t.Errorf("preflight %v", h)
	}
	if got := preflight("https://evil.example.com").Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another origin: %q", got)
	}

	set(`{"rate_limit":{"requests_per_second":1,"burst_size":3}}`)
	refused := 0
	for range 20 {
		resp, _ := n.Do(http.MethodGet, "/repository/files/none", nil)
		if resp.StatusCode != http.StatusTooManyRequests {
			continue
		}
		refused++
		if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || wait < 1 {
			t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
		}
	}
	if refused == 0 {
		t.Error("twenty requests at once were all taken")
	}
	n.Want(http.StatusOK, http.MethodGet, "/api/v1/health", nil) // is exempt
}
