package integration_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// What the README tells a newcomer to do: the printed password is good for
// changing it and for nothing else, then a repository is made and used. A later
// start prints no password.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	n := node.Start(t, node.Options{Env: []string{"GRANARY_ADMIN_PASSWORD="}})
	var found []string
	// What it prints arrives through a pipe, a moment later than its answers.
	for until := time.Now().Add(patience); found == nil && time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		found = regexp.MustCompile(`user admin, password (\S+)`).FindStringSubmatch(n.Output())
	}
	if found == nil {
		t.Fatalf("no password is printed:\n%s", n.Output())
	}
	printed := found[1]
	repository := `{"name":"files","repo_type":"hosted","format":"raw"}`
	as := func(password string, want int, method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, n.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("admin", password)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("%s %s answered %s, want %d", method, path, resp.Status, want)
		}
	}
	as(printed, 403, "POST", "/api/v1/repositories", repository)
	as(printed, 200, "POST", "/api/v1/auth/change-password", `{"username":"admin","current_password":"`+printed+`","new_password":"PASSWORD"}`)
	as(printed, 401, "GET", "/api/v1/repositories", "")
	as("PASSWORD", 201, "POST", "/api/v1/repositories", repository)
	as("PASSWORD", 201, "PUT", "/repository/files/docs/README.md", "read me")
	as("PASSWORD", 200, "GET", "/repository/files/docs/README.md", "")
	n.Stop()
	n.Restart()
	as("PASSWORD", 200, "GET", "/repository/files/docs/README.md", "")
	if strings.Contains(n.Output(), "password ") {
		t.Errorf("a later start prints a password:\n%s", n.Output())
	}
}
