package httpapi

import (
	"strconv"
	"strings"
	"testing"

	"granary/audit"
	"granary/repo/config"
)

// audited is a rig with an audit log.
func audited(t *testing.T) (*rig, *audit.Log) {
	t.Helper()
	var log *audit.Log
	r := newRig(t, func(c *Config) {
		withEverything(c)
		log = c.REST.Audit
		c.Audit = log
	})
	return r, log
}

func (r *rig) entries(log *audit.Log, query string) (lines []string) {
	r.t.Helper()
	if err := log.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	var page struct {
		Entries []struct {
			Username, Credential, Method, Path, Action, IP string
			Repo                                           *string
			Status                                         int
			RequestID                                      string `json:"request_id"`
		}
		Next *string `json:"next_cursor"`
	}
	r.do("admin", "GET", "/api/v1/audit"+query, nil).status(200).decode(&page)
	for _, e := range page.Entries {
		repo := "-"
		if e.Repo != nil {
			repo = *e.Repo
		}
		if e.RequestID == "" || e.IP != "192.0.2.1" {
			r.t.Errorf("entry %+v", e)
		}
		credential, _, _ := strings.Cut(e.Credential, " grn")
		lines = append(lines, strings.Join([]string{e.Username, credential, e.Method, e.Path, e.Action, repo, strconv.Itoa(e.Status)}, "|"))
	}
	return lines
}

func TestAudit(t *testing.T) {
	r, log := audited(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.user("ann", "read", "files")
	id, token := r.token("ann", `{"name":"ci"}`)
	r.entries(log, "")
	start := len(r.entries(log, "?limit=1000"))

	r.do("admin", "PUT", "/repository/files/x?token=in-the-query", strings.NewReader("x")).status(201)
	r.do("ann", "GET", "/repository/files/x", nil).status(200)
	r.do("ann", "DELETE", "/repository/files/x", nil).status(403)
	r.do("", "GET", "/repository/files/x", nil).status(401)
	r.do("", "PUT", "/repository/files/x", strings.NewReader("x")).status(401)
	r.do("", "PUT", "/repository/files/x", strings.NewReader("x"), "Authorization", "Bearer "+token).status(403)
	r.do("", "GET", "/repository/files/x", nil, "Authorization", pair("ann", "a-wrong-password")).status(401)
	r.do("", "GET", "/repository/files/x", nil, "Authorization", pair("a secret typed as name!", "x")).status(401)
	r.json("", "POST", "/api/v1/auth/login", `{"username":"ann","password":"another-wrong-one"}`).status(401)
	r.json("", "POST", "/api/v1/auth/login", `{"username":"ann","password":"password"}`).status(200)
	r.json("admin", "PUT", "/api/v1/repositories/files", `{"content_disposition":"inline"}`).status(200)
	r.do("", "GET", "/live", nil).status(200)

	got := r.entries(log, "?limit=1000")
	want := []string{ // the newest first
		"admin|password|PUT|/api/v1/repositories/files|update-repository|files|200",
		"ann||POST|/api/v1/auth/login|login|-|200",
		"ann||POST|/api/v1/auth/login|login|-|401",
		"|refused basic|GET|/repository/files/x||-|401",
		"ann|refused basic|GET|/repository/files/x||-|401",
		"ann|token " + id + "|PUT|/repository/files/x||files|403",
		"anonymous||PUT|/repository/files/x||files|401",
		"ann|password|DELETE|/repository/files/x||files|403",
		"admin|password|PUT|/repository/files/x|file|files|201",
	}
	if got = got[:max(0, len(got)-start)]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	whole := r.do("admin", "GET", "/api/v1/audit?limit=1000", nil).text
	for _, secret := range []string{"in-the-query", "wrong", "typed as name", token, adminPassword, "Basic "} {
		if strings.Contains(whole, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if got := r.entries(log, "?username=ann&action=login"); len(got) != 2 {
		t.Errorf("ann's log-ins: %q", got)
	}
	if got := r.entries(log, "?repo=files&until=2001-01-01T00:00:00Z"); len(got) != 0 {
		t.Errorf("before there was anything: %q", got)
	}
	for _, query := range []string{"?since=yesterday", "?limit=0", "?limit=x", "?cursor=x"} {
		r.do("admin", "GET", "/api/v1/audit"+query, nil).fails(400, "BAD_REQUEST", "")
	}
	r.do("ann", "GET", "/api/v1/audit", nil).status(403)
}

func TestAuditOfReads(t *testing.T) {
	r, log := audited(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.json("admin", "PUT", "/api/v1/settings", `{"audit_reads":true,"audit_retention_days":7}`).status(200)
	r.json("admin", "PUT", "/api/v1/settings", `{"audit_retention_days":0}`).status(200) // the default
	r.json("admin", "PUT", "/api/v1/settings", `{"audit_reads":true,"audit_retention_days":-1}`).fails(400, "BAD_REQUEST", "audit_retention_days")
	r.json("admin", "PUT", "/api/v1/settings", `{"audit_reads":true}`).status(200)
	r.do("admin", "GET", "/repository/files/x", nil).status(404)
	if got := r.entries(log, "?repo=files"); len(got) != 1 || got[0] != "admin|password|GET|/repository/files/x|file|files|404" {
		t.Errorf("got %q", got)
	}
}

// A path that is not UTF-8, which anybody may ask for, leaves the log readable.
func TestAuditOfPathsThatAreNotText(t *testing.T) {
	r, log := audited(t)
	r.do("", "PUT", "/repository/files/%ff", strings.NewReader("x")).status(400)
	r.do("", "DELETE", "/%ff", nil)
	if got := strings.Join(r.entries(log, "?limit=2"), "\n"); !strings.Contains(got, "|PUT|/repository/files/\uFFFD|") {
		t.Errorf("got %q", got)
	}
}
