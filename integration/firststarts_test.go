package integration_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"granary/integration/node"
)

// TestFirstStartsAtOnce: the replicas of a new installation all start at the
// same moment, on a table that none of them finds, with a configuration that
// lists what to make. All come up, and all of it is there once.
func TestFirstStartsAtOnce(t *testing.T) {
	t.Parallel()
	const replicas = 4
	blobs := t.TempDir()
	config := filepath.Join(t.TempDir(), "granary.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
initialization:
  stores:
    - {name: default, store_type: file, root: %q}
  repositories:
    - {name: files, repo_type: hosted, format: raw}
    - {name: debs, repo_type: hosted, format: apt}
    - {name: all, repo_type: proxy, format: raw, members: [files]}
  roles:
    - {name: ci, capabilities: [{capability: read, repo: files}, {capability: write, repo: files}]}
  users:
    - {username: builder, password: "a password of ci", roles: [ci]}
  settings: {max_artifact_bytes: 1234567}
`, blobs), 0o600); err != nil {
		t.Fatal(err)
	}
	o := node.Options{Env: node.Table(t, "first-starts-"+rand.Text()), Args: []string{"--config", config}}
	nodes := node.StartAll(t, slices.Repeat([]node.Options{o}, replicas)...)

	for i, n := range nodes {
		want := map[string][]string{"stores": {"default"}, "repositories": {"all", "debs", "files"}, "users": {"admin", "anonymous", "builder"}}
		for kind, names := range want {
			if got := namesOf(t, n, kind); !slices.Equal(got, names) {
				t.Errorf("node %d has the %s %v, want %v", i, kind, got, names)
			}
		}
		var settings struct {
			Max int64 `json:"max_artifact_bytes"`
		}
		if err := json.Unmarshal(n.Want(200, "GET", "/api/v1/settings", nil), &settings); err != nil || settings.Max != 1234567 {
			t.Errorf("node %d has settings %+v, %v", i, settings, err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, fmt.Sprintf("%s/repository/files/from-%d", n.URL, i), strings.NewReader(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("builder", "a password of ci")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // its status is all that is wanted
		if resp.StatusCode != http.StatusCreated {
			t.Errorf("an upload to node %d answered %s", i, resp.Status)
		}
	}
	for _, n := range nodes {
		for i := range replicas {
			if got := n.Want(200, "GET", fmt.Sprintf("/repository/all/from-%d", i), nil); string(got) != fmt.Sprint(i) {
				t.Errorf("%s answers %q for what node %d took", n.URL, got, i)
			}
		}
	}
	keys := map[string]bool{}
	for _, n := range nodes {
		keys[string(n.Want(200, "GET", "/repository/debs/public.key", nil))] = true
	}
	if len(keys) != 1 {
		t.Errorf("the apt repository has %d keys, want one on all nodes", len(keys))
	}
}

// namesOf are the names that a listing of the REST surface has, in order.
func namesOf(t *testing.T, n *node.Node, kind string) []string {
	t.Helper()
	var list []struct {
		Name     string `json:"name"`
		Username string `json:"username"`
	}
	if err := json.Unmarshal(n.Want(200, "GET", "/api/v1/"+kind, nil), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name+e.Username)
	}
	slices.Sort(names)
	return names
}
