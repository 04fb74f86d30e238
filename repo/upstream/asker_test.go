package upstream

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who asks an identity provider is guarded as a repository's upstream is, and
// goes nowhere that the answer names.
func TestAsker(t *testing.T) {
	w := newWorld(t)
	w.serve("issuer.example.com", "203.0.113.1", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://metadata.example.com/", http.StatusFound)
	})
	w.serve("metadata.example.com", "169.254.169.254", func(http.ResponseWriter, *http.Request) { t.Error("a guarded address was asked") })
	c := w.client(Config{})
	defer c.Close()
	ask := c.Asker(time.Minute)
	res, err := ask.Get("http://issuer.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusFound {
		t.Errorf("a redirect was followed: %d", res.StatusCode)
	}
	for _, url := range []string{"http://metadata.example.com/", "http://169.254.169.254/", "http://[fe80::1]/"} {
		if res, err := ask.Get(url); err == nil || !strings.Contains(err.Error(), "not allowed") {
			if err == nil {
				res.Body.Close()
			}
			t.Errorf("%s: %v", url, err)
		}
	}
}
