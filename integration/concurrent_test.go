package integration_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// each calls f with 0 … n-1 at the same moment and waits.
func each(n int, f func(i int)) {
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

func TestConcurrentEmbedded(t *testing.T) {
	n := node.Start(t, node.Options{})
	t.Run("creation", func(t *testing.T) { createAtOnce(t, n, n) })
	t.Run("uploads", func(t *testing.T) { uploadAtOnce(t, n, n) })
	t.Run("cold cache", func(t *testing.T) { cacheAtOnce(t, 1, n, n) })
}

func TestConcurrentTwoNodes(t *testing.T) {
	nodes := node.Cluster(t, 2)
	a, b := nodes[0], nodes[1]
	t.Run("creation", func(t *testing.T) { createAtOnce(t, a, b) })
	t.Run("uploads", func(t *testing.T) { uploadAtOnce(t, a, b) })
	t.Run("cold cache", func(t *testing.T) { cacheAtOnce(t, 2, a, b) })
	t.Run("changes", func(t *testing.T) { changesHold(t, a, b) })
}

// Of twelve who create the same name one succeeds.
func createAtOnce(t *testing.T, a, b *node.Node) {
	for _, kind := range []struct{ path, body string }{
		{"repositories", `{"name":"%s","repo_type":"hosted","format":"raw"}`},
		{"users", `{"username":"%s","password":"a password","roles":[]}`},
		{"roles", `{"name":"%s"}`},
	} {
		for round := range 2 {
			name := fmt.Sprintf("one-%d", round)
			var created, conflicts atomic.Int64
			each(12, func(i int) {
				n := []*node.Node{a, b}[i%2]
				resp, body, err := n.Try(t.Context(), http.MethodPost, "/api/v1/"+kind.path, strings.NewReader(fmt.Sprintf(kind.body, name)), "Content-Type", "application/json")
				switch {
				case err == nil && resp.StatusCode == http.StatusCreated:
					created.Add(1)
				case err == nil && resp.StatusCode == http.StatusConflict && code(string(body)) == "CONFLICT":
					conflicts.Add(1)
				case err == nil:
					t.Errorf("%s: answered %s\n%s", kind.path, resp.Status, body)
				default:
					t.Error(err)
				}
			})
			if created.Load() != 1 || conflicts.Load() != 11 {
				t.Errorf("%s: %d were created, %d conflicts, want 1 and 11", kind.path, created.Load(), conflicts.Load())
			}
			for _, n := range []*node.Node{a, b} {
				n.Want(200, http.MethodGet, "/api/v1/"+kind.path+"/"+name, nil)
			}
		}
	}
}

// Of those who upload to a path at once, under a policy that keeps what is
// there, one wins, and all readers see its bytes.
func uploadAtOnce(t *testing.T, a, b *node.Node) {
	a.Create(`{"name":"fixed","repo_type":"hosted","format":"raw","conflict_policy":"allow-identical"}`)
	for round := range 5 {
		path := fmt.Sprintf("/repository/fixed/dir%d/file", round)
		var won atomic.Pointer[string]
		each(12, func(i int) {
			n := []*node.Node{a, b}[i%2]
			body := fmt.Sprintf("bytes of uploader %d", i)
			resp, text, err := n.Try(t.Context(), http.MethodPut, path, strings.NewReader(body))
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == http.StatusCreated:
				if other := won.Swap(&body); other != nil {
					t.Errorf("both %q and %q were taken", *other, body)
				}
			case resp.StatusCode != http.StatusConflict:
				t.Errorf("answered %s\n%s", resp.Status, text)
			}
		})
		if won.Load() == nil {
			t.Fatal("nobody's upload was taken")
		}
		for _, n := range []*node.Node{a, b} {
			if got := n.Want(200, http.MethodGet, path, nil); string(got) != *won.Load() {
				t.Errorf("%s has %q, want %q", n.URL, got, *won.Load())
			}
		}
	}
}

// Fifty clients on a cold cache are one request to the upstream, or one by each
// node at the most.
func cacheAtOnce(t *testing.T, most int64, a, b *node.Node) {
	for name, size := range map[string]int{"small": 1000, "medium": 500_000, "large": 12 << 20} {
		t.Run(name, func(t *testing.T) {
			want := strings.Repeat("x", size)
			u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(300 * time.Millisecond) // so that most have come before it answers
				w.Header().Set("ETag", `"v1"`)
				w.Header().Set("Content-Length", fmt.Sprint(size))
				w.Write([]byte(want)) //nolint:errcheck // the peer may have gone
			})
			repository := "cold-" + name
			a.Create(fmt.Sprintf(`{"name":%q,"repo_type":"cache","format":"raw","upstream_url":%q,"cache_ttl_secs":600}`, repository, u.URL))
			each(50, func(i int) {
				n := []*node.Node{a, b}[i%2]
				resp, body, err := n.Try(t.Context(), http.MethodGet, "/repository/"+repository+"/file", nil)
				switch {
				case err != nil:
					t.Error(err)
				case resp.StatusCode != http.StatusOK || string(body) != want:
					t.Errorf("answered %s with %d bytes", resp.Status, len(body))
				}
			})
			if hits := u.hits.Load(); hits < 1 || hits > most {
				t.Errorf("the upstream was asked %d times, want at most %d", hits, most)
			}
		})
	}
}

// What one node has answered holds on the other, at once.
func changesHold(t *testing.T, a, b *node.Node) {
	put := func(n *node.Node, want int, path, body string) {
		t.Helper()
		n.Want(want, http.MethodPut, "/repository/"+path, strings.NewReader(body))
	}
	change := func(n *node.Node, method, path, body string, want int) {
		t.Helper()
		n.Want(want, method, "/api/v1/"+path, strings.NewReader(body), "Content-Type", "application/json")
	}
	for round := range 2 {
		name := fmt.Sprintf("changed-%d", round)
		x, y := a, b
		if round%2 == 1 {
			x, y = b, a
		}
		change(x, "POST", "repositories", `{"name":"`+name+`","repo_type":"hosted","format":"raw"}`, 201)
		put(y, 201, name+"/f", "one")
		put(y, 201, name+"/f", "two")
		change(x, "PUT", "repositories/"+name, `{"conflict_policy":"deny"}`, 200)
		put(y, 409, name+"/f", "three")
		change(y, "PUT", "repositories/"+name, `{"conflict_policy":"allow"}`, 200)
		put(x, 201, name+"/f", "four")
		if got := y.Want(200, http.MethodGet, "/repository/"+name+"/f", nil); string(got) != "four" {
			t.Errorf("read %q", got)
		}

		// Rights, and a password.
		user := fmt.Sprintf("user-%d", round)
		change(x, "POST", "roles", fmt.Sprintf(`{"name":%q,"capabilities":[{"capability":"read","repo":%q}]}`, user, name), 201)
		change(y, "POST", "users", fmt.Sprintf(`{"username":%q,"password":"password one","roles":[%q]}`, user, user), 201)
		as := func(n *node.Node, password string) int {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+"/repository/"+name+"/f", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.SetBasicAuth(user, password)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close() //nolint:errcheck // its status is all that is wanted
			return resp.StatusCode
		}
		wants := func(n *node.Node, password string, want int) {
			t.Helper()
			if got := as(n, password); got != want {
				t.Errorf("%s with %q answered %d, want %d", n.URL, password, got, want)
			}
		}
		wants(x, "password one", 200)
		wants(y, "password one", 200)
		change(x, "PUT", "users/"+user, `{"password":"password two"}`, 200)
		wants(y, "password one", 401)
		wants(y, "password two", 200)
		change(y, "PUT", "roles/"+user, `{"capabilities":[]}`, 200)
		wants(x, "password two", 403)
		change(x, "DELETE", "users/"+user, "", 204)
		wants(y, "password two", 401)

		change(x, "DELETE", "repositories/"+name, "", 204)
		y.Want(404, http.MethodGet, "/repository/"+name+"/f", nil)
		put(y, 404, name+"/g", "late")
		y.Want(404, http.MethodGet, "/api/v1/repositories/"+name, nil)
		change(y, "POST", "repositories", `{"name":"`+name+`","repo_type":"hosted","format":"raw"}`, 201)
		x.Want(404, http.MethodGet, "/repository/"+name+"/f", nil)
	}
}
