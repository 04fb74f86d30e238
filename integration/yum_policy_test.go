package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// What a policy of a cache refuses is in no metadata of a group, so that dnf
// takes the next best; of the cache itself, which passes on what its upstream
// has signed, dnf's user reads that it is forbidden.
func TestYumPolicy(t *testing.T) {
	c := newDnf(t)
	old := time.Now().AddDate(0, 0, -30)
	build := func(name, version string, at time.Time) {
		t.Setenv("SOURCE_DATE_EPOCH", fmt.Sprint(at.Unix()))
		file := rpmPackage(t, name, version, "%global use_source_date_epoch_as_buildtime 1")
		to := filepath.Join("upstream", filepath.Base(file))
		c.write(to, string(mustRead(t, file)))
		if err := os.Chtimes(filepath.Join(c.root, to), at, at); err != nil {
			t.Fatal(err)
		}
	}
	build("hello", "1.0", old)
	build("hello", "1.1", time.Now())
	build("bad", "1.0", old)
	build("bad", "0.9", old)
	dir := filepath.Join(c.root, "upstream")
	c.run("createrepo_c", "--no-database", dir)
	upstream := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer upstream.Close()
	n := node.Start(t, node.Options{})
	yumRepository(n, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"minimum_age_days":7,"block_patterns":["^bad@1\\."]`, upstream.URL))
	yumRepository(n, "all", "proxy", `,"members":["mirror"]`)

	grouped := newDnf(t)
	grouped.setUp(n, "all")
	if out := grouped.dnf("repoquery", "--qf", "%{name}-%{version}"); !strings.Contains(out, "hello-1.0") || !strings.Contains(out, "bad-0.9") ||
		strings.Contains(out, "hello-1.1") || strings.Contains(out, "bad-1.0") {
		t.Errorf("a client of the group sees\n%s", out)
	}
	grouped.dnf("install", "hello", "bad")
	if got := grouped.installed("hello") + " " + grouped.installed("bad"); got != "1.0 0.9" {
		t.Errorf("installed %s", got)
	}
	if out, err := grouped.try("dnf", grouped.args("install", "bad-1.0")...); err == nil || !strings.Contains(out, "No match for argument: bad-1.0") {
		t.Errorf("a blocked package of the group: %v\n%s", err, out)
	}

	direct := newDnf(t)
	direct.setUp(n, "mirror")
	for name, reason := range map[string]string{"hello-1.1": "too-young", "bad-1.0": "blocked"} {
		out, err := direct.try("dnf", direct.args("install", name)...)
		if err == nil || !strings.Contains(out, "Status code: 403 for "+n.URL+"/repository/mirror/"+name+"-1.noarch.rpm") {
			t.Errorf("%s of the cache: %v\n%s", name, err, out)
		}
		for repository, want := range map[string]int{"mirror": http.StatusForbidden, "all": http.StatusNotFound} {
			resp, body := n.Do(http.MethodGet, "/repository/"+repository+"/"+name+"-1.noarch.rpm", nil)
			if got := resp.Header.Get("X-Granary-Policy"); resp.StatusCode != want || got != reason {
				t.Errorf("%s of %s: %s, reason %q\n%s", name, repository, resp.Status, got, body)
			}
		}
	}
	direct.dnf("install", "hello-1.0", "bad-0.9")
	if got := direct.installed("hello") + " " + direct.installed("bad"); got != "1.0 0.9" {
		t.Errorf("installed %s", got)
	}

	// Of granary itself as the upstream: what was built long ago and uploaded
	// today is young, so that a group lists what can be downloaded.
	yumRepository(n, "own", "hosted", "")
	c.upload(n, "own", "", filepath.Join(dir, "hello-1.0-1.noarch.rpm"))
	for name, days := range map[string]int{"week": 7, "today": 0} {
		yumRepository(n, name, "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q},"minimum_age_days":%d`, n.URL+"/repository/own", node.Password, days))
		yumRepository(n, name+"s", "proxy", fmt.Sprintf(`,"members":[%q]`, name))
		user := newDnf(t)
		user.setUp(n, name+"s")
		out := user.dnf("repoquery", "--qf", "%{name} %{version}")
		if listed := strings.Contains(out, "hello "); listed != (days == 0) {
			t.Errorf("%d days: dnf sees\n%s", days, out)
		}
		if days == 0 {
			user.dnf("install", "hello")
		}
	}
}
