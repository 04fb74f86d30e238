package integration_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"granary/integration/node"
)

// The password of an upstream is shown to nobody and sent to its origin alone.
func TestUpstreamCredentials(t *testing.T) {
	n := node.Start(t, node.Options{Env: []string{"GRANARY_LOG_LEVEL=debug"}})
	const password = "s3cr3t-of-the-upstream"
	var mu sync.Mutex
	sent := map[string][]string{} // Authorization by who got it
	note := func(who string, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			sent[who] = append(sent[who], r.Header.Get("Authorization"))
			mu.Unlock()
			if strings.Contains(r.Header.Get("Referer")+r.URL.String(), password) {
				t.Errorf("%s hears the password in %s, Referer %s", who, r.URL, r.Header.Get("Referer"))
			}
			h(w, r)
		}
	}
	other := newUpstream(t, note("other", answer("moved")))
	u := newUpstream(t, note("own", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, other.URL+"/x", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/refused":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+other.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Write([]byte("here")) //nolint:errcheck // the peer may have gone
		}
	}))
	withUser := strings.Replace(u.URL, "http://", "http://robot:"+password+"@", 1)
	var shown []string
	show := func(b []byte) { shown = append(shown, string(b)) }
	show(n.Want(201, http.MethodPost, "/api/v1/repositories", strings.NewReader(
		`{"name":"mirror","repo_type":"cache","format":"raw","upstream_url":"`+withUser+`"}`), "Content-Type", "application/json"))
	one := n.Want(200, http.MethodGet, "/api/v1/repositories/mirror", nil)
	var repository struct {
		UpstreamURL  string            `json:"upstream_url"`
		UpstreamAuth map[string]string `json:"upstream_auth"`
	}
	if err := json.Unmarshal(one, &repository); err != nil {
		t.Fatal(err)
	}
	if repository.UpstreamURL != u.URL && repository.UpstreamURL != u.URL+"/" || repository.UpstreamAuth["username"] != "robot" || repository.UpstreamAuth["password"] != "********" {
		t.Errorf("shown as %+v", repository)
	}
	show(one)
	show(n.Want(200, http.MethodGet, "/api/v1/repositories", nil))
	// Sent back as it was shown it stays.
	show(n.Want(200, http.MethodPut, "/api/v1/repositories/mirror", strings.NewReader(string(one)), "Content-Type", "application/json"))
	show(n.Want(200, http.MethodGet, "/repository/mirror/here", nil))
	show(n.Want(200, http.MethodGet, "/repository/mirror/moved", nil))
	show(n.Want(502, http.MethodGet, "/repository/mirror/broken", nil))
	show(n.Want(502, http.MethodGet, "/repository/mirror/refused", nil))
	for _, text := range append(shown, n.Output()) {
		if strings.Contains(text, password) {
			t.Errorf("the password is shown in %s", text)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("robot", password)
	mu.Lock()
	defer mu.Unlock()
	if len(sent["own"]) != 4 || len(sent["other"]) < 1 {
		t.Errorf("asked %d and %d times", len(sent["own"]), len(sent["other"]))
	}
	for _, got := range sent["own"] {
		if got != req.Header.Get("Authorization") {
			t.Errorf("the upstream got %q", got)
		}
	}
	for _, got := range sent["other"] {
		if got != "" {
			t.Errorf("another origin got %q", got)
		}
	}
}
