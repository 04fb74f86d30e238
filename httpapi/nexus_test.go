package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"granary/formats/formattest"
	"granary/httpapi/nexus"
)

type nexusPage struct {
	Items []struct {
		ID, Path, Name, Repository, Format, DownloadURL string
		Checksum                                        map[string]string
		FileSize                                        int64
		Assets                                          []struct{ Path string }
	}
	ContinuationToken *string
}

func (p nexusPage) paths() string {
	var out []string
	for _, i := range p.Items {
		out = append(out, i.Path+i.Name)
	}
	return strings.Join(out, " ")
}

func (r *rig) nexus(as, path string, query ...string) nexusPage {
	r.t.Helper()
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	var p nexusPage
	r.do(as, "GET", nexus.Prefix+path+"?"+q.Encode(), nil).status(200).header("Content-Type", "application/json").decode(&p)
	return p
}

func TestNexusSearch(t *testing.T) {
	r := newRig(t)
	r.Create("files", "hosted", "raw", nil)
	for _, p := range []string{"app/1.9/x.zip", "app/1.10/x.zip", "lib/a+b.txt", "lib/a b.txt", "top.txt"} {
		r.Put("files", p, []byte(p))
	}
	for _, tc := range []struct{ query, want string }{
		{"", "app/1.10/x.zip app/1.9/x.zip lib/a b.txt lib/a+b.txt top.txt"},
		{"name app*", "app/1.10/x.zip app/1.9/x.zip"},
		{"name /app/1.1*", "app/1.10/x.zip"},
		{"name *zip", "app/1.10/x.zip app/1.9/x.zip"},
		{"name app*zip*", "app/1.10/x.zip app/1.9/x.zip"},
		{"name x.zip", "app/1.10/x.zip app/1.9/x.zip"},
		{"name X.zip", ""},
		{"name zip*", ""},
		{"name lib/../app*", ""},
		{"q TOP", "top.txt"},
		{`keyword "top"`, "top.txt"},
		{"group /app", "app/1.10/x.zip app/1.9/x.zip"},
		{"group app/1.1", "app/1.10/x.zip"},
		{"group lib name txt", "lib/a b.txt lib/a+b.txt"},
		{"name app* sort version", "app/1.9/x.zip app/1.10/x.zip"},
		{"name app* sort version direction desc", "app/1.10/x.zip app/1.9/x.zip"},
		{"name app* sort name direction desc", "app/1.9/x.zip app/1.10/x.zip"},
	} {
		query := append([]string{"repository", "files"}, strings.Fields(tc.query)...)
		got := strings.Fields(strings.ReplaceAll(r.nexus("admin", "/search/assets", query...).paths(), "a b", "a_b"))
		want := strings.Fields(strings.ReplaceAll(tc.want, "a b", "a_b"))
		if !strings.Contains(tc.query, "sort") {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", tc.query, got, want)
		}
	}
	// A plus sign may be one, or a space.
	for query, want := range map[string]string{"lib/a+b.txt": "lib/a b.txt lib/a+b.txt", "lib/a%2Bb.txt": "lib/a+b.txt", "lib/a%20b.txt": "lib/a b.txt"} {
		var p nexusPage
		r.do("admin", "GET", nexus.Prefix+"/assets?repository=files&name="+query, nil).status(200).decode(&p)
		got := []string{}
		for _, i := range p.Items {
			got = append(got, i.Path)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}

	one := r.nexus("admin", "/assets", "repository", "files", "name", "a+b").Items[0]
	if one.DownloadURL != "http://example.com/repository/files/lib/a+b.txt" || one.Format != "raw" || one.FileSize != 11 || len(one.Checksum["sha256"]) != 64 || len(one.Checksum["blake3"]) != 64 {
		t.Errorf("asset %+v", one)
	}
	c := r.nexus("admin", "/components", "repository", "files", "name", "top.txt").Items[0]
	if c.Name != "top.txt" || len(c.Assets) != 1 || c.Assets[0].Path != "top.txt" {
		t.Errorf("component %+v", c)
	}
	r.do("admin", "GET", nexus.Prefix+"/search/assets/download?repository=files&name=app*&sort=version&direction=desc", nil).
		status(302).header("Location", "http://example.com/repository/files/app/1.10/x.zip")
	r.do("admin", "GET", nexus.Prefix+"/search/assets/download?repository=files&name=none", nil).status(404).is("no matching assets\n")
	r.do("admin", "GET", nexus.Prefix+"/search/assets/download", nil).status(400)
	for _, path := range []string{"/assets", "/components", "/search", "/search/assets"} {
		r.do("admin", "GET", nexus.Prefix+path, nil).status(400).is(`{"items":[],"continuationToken":null}`)
		r.do("admin", "GET", nexus.Prefix+path+"?repository=files&continuationToken=x", nil).status(400)
		r.do("admin", "GET", nexus.Prefix+path+"?repository=files&limit=0", nil).status(400)
	}
	r.do("admin", "HEAD", nexus.Prefix+"/assets?repository=files", nil).status(200).is("")
}

// What narrows a search does, or is refused: a script deletes what it finds.
func TestNexusSearchOfProperties(t *testing.T) {
	r := newRig(t)
	r.Create("files", "hosted", "raw", nil)
	r.Create("images", "hosted", "docker", nil)
	for _, p := range []string{"a.txt", "b.txt"} {
		r.Put("files", p, []byte(p))
	}
	r.pushImage("admin", "images/app", "1.2", "one")
	r.pushImage("admin", "images/app", "1.20", "two")
	sum := sha256.Sum256([]byte("b.txt"))
	for _, tc := range []struct{ query, want string }{
		{"sha256=" + strings.ToUpper(hex.EncodeToString(sum[:])), "b.txt"},
		{"sha256=" + strings.Repeat("0", 64), ""},
		{"sha1=" + strings.Repeat("0", 40), ""},
		{"format=npm", ""},
		{"format=raw&name=a", "a.txt"},
		{"sort=name&format=npm", ""},
	} {
		var p nexusPage
		r.do("admin", "GET", nexus.Prefix+"/search/assets?repository=files&"+tc.query, nil).status(200).decode(&p)
		if p.paths() != tc.want {
			t.Errorf("%s: %q, want %q", tc.query, p.paths(), tc.want)
		}
		want := 404
		if tc.want != "" {
			want = 302
		}
		r.do("admin", "GET", nexus.Prefix+"/search/assets/download?repository=files&"+tc.query, nil).status(want)
	}
	for _, query := range []string{"version=1", "maven.groupId=x", "docker.imageTag=x", "prerelease=true"} {
		for _, path := range []string{"/search", "/search/assets", "/assets", "/components", "/search/assets/download"} {
			r.do("admin", "GET", nexus.Prefix+path+"?repository=files&"+query, nil).status(400)
		}
	}
	for version, want := range map[string]string{"1.2": "1.2", "1.2*": "1.2 1.20", "*": "1.2 1.20", "1": "", "1.?": "", "[1]*": ""} {
		var tags []string
		for _, i := range r.nexus("admin", "/search", "repository", "images", "name", "app/tags", "version", version).Items {
			tags = append(tags, strings.TrimPrefix(i.Name, "app/tags/"))
		}
		slices.Sort(tags)
		if got := strings.Join(tags, " "); got != want {
			t.Errorf("version %s: %q, want %q", version, got, want)
		}
	}
	if got := r.nexus("admin", "/assets", "repository", "files", "version", "", "prerelease", "").paths(); got == "" {
		t.Error("empty parameters narrow the search")
	}
}

func TestNexusPages(t *testing.T) {
	r := newRig(t)
	r.Create("files", "hosted", "raw", nil)
	r.Create("more", "hosted", "raw", nil)
	r.Group("all", "raw", "files", "more")
	want := map[string]bool{}
	for i := range 23 {
		p := fmt.Sprintf("d%d/f%d", i%4, i)
		r.Put([]string{"files", "more"}[i%2], p, []byte(p))
		want[p] = true
	}
	r.Put("more", "d0/f0", []byte("hidden by the first member's"))
	for _, more := range [][]string{nil, {"sort", "name"}} {
		seen, token := map[string]bool{}, ""
		for pages := 0; ; pages++ {
			q := append([]string{"repository", "all", "limit", "5"}, more...)
			if token != "" {
				q = append(q, "continuationToken", token)
			}
			p := r.nexus("admin", "/assets", q...)
			for _, i := range p.Items {
				if seen[i.Path] {
					t.Errorf("%v: %s comes twice", more, i.Path)
				}
				seen[i.Path] = true
			}
			if p.ContinuationToken == nil {
				if pages != 4 {
					t.Errorf("%v: %d full pages before the last, want 4", more, pages)
				}
				break
			}
			token = *p.ContinuationToken
		}
		if len(seen) != len(want) {
			t.Errorf("%v: %d assets, want %d", more, len(seen), len(want))
		}
	}
}

func TestNexusComponents(t *testing.T) {
	r := newRig(t)
	r.Create("files", "hosted", "raw", nil)
	r.Create("modules", "hosted", "golang", nil)
	r.user("reader", "read", "*")
	post := func(as, repository string, parts ...formattest.Part) *answer {
		header, body := formattest.Form(t, parts...)
		return r.do(as, "POST", nexus.Prefix+"/components?repository="+repository, strings.NewReader(string(body)), "Content-Type", header.Get("Content-Type"))
	}
	one := []formattest.Part{
		{Name: "raw.asset1", File: "sent.txt", Content: "one"}, {Name: "raw.asset1.filename", Content: "name.txt"},
		{Name: "raw.asset2", File: "b.txt", Content: "two"}, {Name: "raw.directory", Content: "/d/e/"}, {Name: "tag", Content: "x"},
	}
	post("admin", "files", one...).status(204).is("")
	if got := string(r.Get("files", "d/e/name.txt")) + string(r.Get("files", "d/e/b.txt")); got != "onetwo" {
		t.Errorf("stored %q", got)
	}
	post("admin", "files", formattest.Part{Name: "raw.directory", Content: "/"}, formattest.Part{Name: "raw.asset", File: "root.txt", Content: "r"}).status(204)
	post("admin", "files", formattest.Part{Name: "raw.directory", Content: "d"}).status(400).header("Content-Type", "text/plain; charset=utf-8")
	post("admin", "files", formattest.Part{Name: "raw.directory", Content: "../x"}, formattest.Part{Name: "raw.asset1", File: "a", Content: "r"}).status(400)
	post("admin", "modules", one...).status(400)
	post("admin", "none", one...).status(404)
	post("reader", "files", one...).status(403)
	post("", "files", one...).status(401).header("Www-Authenticate", `Basic realm="granary"`)

	id := r.nexus("reader", "/components", "repository", "files", "name", "name.txt").Items[0].ID
	for _, kind := range []string{"/components/", "/assets/"} {
		r.do("reader", "GET", nexus.Prefix+kind+id, nil).status(200)
		r.do("", "GET", nexus.Prefix+kind+id, nil).status(401)
		r.do("reader", "DELETE", nexus.Prefix+kind+id, nil).status(403)
		for _, wrong := range []string{"x", "%2F", "eA", id + "x"} {
			r.do("admin", "GET", nexus.Prefix+kind+wrong, nil).status(404)
			r.do("admin", "DELETE", nexus.Prefix+kind+wrong, nil).status(404)
			r.do("", "DELETE", nexus.Prefix+kind+wrong, nil).status(401)
		}
	}
	r.do("admin", "DELETE", nexus.Prefix+"/components/"+id, nil).status(204)
	r.do("admin", "GET", nexus.Prefix+"/components/"+id, nil).status(404)
	r.do("admin", "DELETE", nexus.Prefix+"/assets/"+id, nil).status(404)
	r.do("admin", "GET", "/repository/files/d/e/name.txt", nil).status(404)
}

func TestNexusRights(t *testing.T) {
	r := newRig(t)
	r.Create("files", "hosted", "raw", nil)
	r.Create("secret", "hosted", "raw", nil)
	r.Cache("cached", "raw", "https://upstream.example.com/", 0)
	r.Group("all", "raw", "files")
	r.user("reader", "read", "files")
	r.do("", "GET", nexus.Prefix+"/status", nil).status(200).is("")
	r.do("", "GET", nexus.Prefix+"/repositories", nil).status(401).header("Content-Type", "text/plain; charset=utf-8")
	r.do("reader", "GET", nexus.Prefix+"/repositories", nil).status(200).
		is(`[{"name":"files","format":"raw","type":"hosted","url":"http://example.com/repository/files"}]`)
	var list []struct{ Name, Type string }
	r.do("admin", "GET", nexus.Prefix+"/repositories", nil).status(200).decode(&list)
	if got := fmt.Sprint(list); got != "[{all group} {cached proxy} {files hosted} {secret hosted}]" {
		t.Errorf("repositories %s", got)
	}
	for _, path := range []string{"/assets", "/components", "/search", "/search/assets", "/search/assets/download"} {
		// One that the caller may not read is like one that does not exist.
		for _, name := range []string{"secret", "none"} {
			r.do("reader", "GET", nexus.Prefix+path+"?repository="+name, nil).status(403).
				header("Content-Type", "text/plain; charset=utf-8").is("this needs read on repository " + name + "\n")
			r.do("", "GET", nexus.Prefix+path+"?repository="+name, nil).status(401)
		}
		r.do("admin", "GET", nexus.Prefix+path+"?repository=none", nil).status(404).header("Content-Type", "text/plain; charset=utf-8")
		r.do("admin", "PUT", nexus.Prefix+path+"?repository=files", nil).status(405).is("")
	}
	r.anyone("read", "files")
	r.do("", "GET", nexus.Prefix+"/repositories", nil).status(200)
	r.do("", "GET", nexus.Prefix+"/assets?repository=files", nil).status(200)
}

func TestNexusIsDocumented(t *testing.T) {
	r := newRig(t)
	var doc struct{ Paths map[string]map[string]any }
	r.do("admin", "GET", "/api-docs/openapi.json", nil).status(200).decode(&doc)
	for _, path := range []string{"/status", "/repositories", "/assets", "/assets/{id}", "/components", "/components/{id}", "/search", "/search/assets", "/search/assets/download"} {
		if len(doc.Paths[nexus.Prefix+path]) == 0 {
			t.Errorf("%s is not described", path)
		}
	}
	if doc.Paths[nexus.Prefix+"/components"][strings.ToLower(http.MethodPost)] == nil {
		t.Error("the upload is not described")
	}
}
