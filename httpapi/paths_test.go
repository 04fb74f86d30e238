package httpapi

import (
	"archive/tar"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"granary/auth"
	"granary/repo/config"
)

// Who has a right on some paths only sees nothing of the others on any surface.
func TestRightsOnPaths(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Create("group", config.Proxy, "raw", func(c *config.Repository) { c.Members = []string{files.ID} })
	for _, p := range []string{"com/acme/app/1", "com/acme/lib/1", "com/other/1", "top"} {
		r.do("admin", "PUT", "/repository/files/"+p, strings.NewReader("bytes of "+p)).status(201)
	}
	paths := []string{"com/acme/**"}
	role := auth.NewRole{Name: "ann", Capabilities: []auth.Capability{
		{Capability: "read", Repo: "*", Paths: paths}, {Capability: "write", Repo: "files", Paths: []string{"com/acme/app/*"}},
	}}
	if _, err := r.auth.CreateRole(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	if _, err := r.auth.CreateUser(t.Context(), auth.NewUser{Username: "ann", Password: "password", Roles: []string{"ann"}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/repository/files/com/acme/app/1", 200},
		{"GET", "/repository/group/com/acme/app/1", 200},
		{"GET", "/repository/files/com/acme/app/none", 404},
		{"GET", "/repository/files/com/other/1", 403},
		{"GET", "/repository/group/com/other/1", 403},
		{"GET", "/repository/files/com/other/none", 403},
		{"GET", "/repository/files/com/acme/%2e%2e/other/1", 400},
		{"GET", "/repository/files/com/acme//app/1", 200},
		{"GET", "/repository/files/com%2facme%2fapp%2f1", 200},
		{"GET", "/repository/missing/com/acme/app/1", 404},
		{"GET", "/repository/missing/com/other/1", 403},
		{"GET", "/repository/files/com/acme/", 200},
		{"GET", "/repository/files/com/", 403},
		{"GET", "/repository/files/", 403},
		{"PUT", "/repository/files/com/acme/app/2", 201},
		{"PUT", "/repository/files/com/acme/lib/2", 403},
		{"PUT", "/repository/files/com/acme/app/2/3", 403},
		{"DELETE", "/repository/files/com/acme/app/1", 403},
		{"GET", "/api/v1/repositories/files", 200},
		{"GET", "/api/v1/repositories/files/snapshots", 403},
		{"GET", "/service/rest/v1/assets?repository=files", 403},
		{"GET", "/api/v1/repositories/files/artifacts?prefix=com/other", 403},
		{"GET", "/api/v1/repositories/files/download-archive?prefix=com/other&format=tar", 403},
	} {
		var body io.Reader
		if tt.method == "PUT" {
			body = strings.NewReader("x")
		}
		r.do("ann", tt.method, tt.target, body).status(tt.want)
	}
	if list := r.do("ann", "GET", "/api/v1/repositories", nil).status(200).list(); len(list) != 2 {
		t.Errorf("sees %d repositories", len(list))
	}
	page := r.do("ann", "GET", "/api/v1/repositories/files/artifacts", nil).status(200)
	if strings.Contains(page.text, "top") || strings.Contains(page.text, "total\"") || !strings.Contains(page.text, `"name":"com","artifact_count":0`) {
		t.Errorf("the root shows %s", page.text)
	}
	page = r.do("ann", "GET", "/api/v1/repositories/files/artifacts?prefix=com", nil).status(200)
	if strings.Contains(page.text, "other") || !strings.Contains(page.text, `"name":"acme","artifact_count":3`) {
		t.Errorf("a directory on the way shows %s", page.text)
	}
	for _, repository := range []string{"files", "group"} {
		page = r.do("ann", "GET", "/api/v1/repositories/"+repository+"/artifacts?prefix=com/acme&q=", nil).status(200)
		if strings.Contains(page.text, "other") || !strings.Contains(page.text, "com/acme/lib/1") {
			t.Errorf("a search in %s finds %s", repository, page.text)
		}
	}
	page = r.do("ann", "GET", "/api/v1/repositories/files/artifacts?q=1", nil).status(200)
	if strings.Contains(page.text, "other") || !strings.Contains(page.text, "com/acme/lib/1") {
		t.Errorf("a search finds %s", page.text)
	}
	var names []string
	archive := tar.NewReader(strings.NewReader(r.do("ann", "GET", "/api/v1/repositories/files/download-archive?prefix=&format=tar", nil).status(200).text))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	slices.Sort(names)
	if want := []string{"com/acme/app/1", "com/acme/app/2", "com/acme/lib/1"}; !slices.Equal(names, want) {
		t.Errorf("an archive has %q, want %q", names, want)
	}
}

// The right to administer a repository is none on the server.
func TestRepositoryAdministrator(t *testing.T) {
	r := newRig(t)
	r.Create("mine", config.Hosted, "raw", nil)
	r.Create("other", config.Hosted, "raw", nil)
	r.user("ann", "admin", "mine*")
	const all = "/api/v1/repositories"
	r.json("ann", "PUT", all+"/mine", `{"content_disposition":"inline"}`).status(200)
	r.json("ann", "PUT", all+"/other", `{"content_disposition":"inline"}`).status(403)
	r.json("ann", "POST", all+"/mine/rename", `{"new_name":"other2"}`).status(403)
	r.json("ann", "POST", all+"/mine/rename", `{"new_name":"mine2"}`).status(200)
	r.do("ann", "PUT", "/repository/mine2/x", strings.NewReader("x")).status(201)
	r.do("ann", "DELETE", "/repository/mine2/x", nil).status(204)
	r.json("ann", "POST", all, `{"name":"mine3","repo_type":"hosted","format":"raw"}`).status(403)
	r.do("ann", "GET", "/api/v1/users", nil).status(403)
	r.do("ann", "DELETE", all+"/other", nil).status(403)
	r.do("ann", "DELETE", all+"/mine2", nil).status(204)
}
