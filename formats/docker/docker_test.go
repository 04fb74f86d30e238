package docker_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"granary/digest"
	"granary/formats"
	"granary/formats/docker"
)

func sha(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func long(b []byte) string {
	s := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(s[:])
}

var some = sha([]byte("some"))

func TestRoute(t *testing.T) {
	for _, c := range []struct {
		method, path string
		kind         formats.Kind
		scope, name  string
	}{
		{"GET", "v2/app/manifests/latest", formats.File, "app/tags", "latest"},
		{"HEAD", "app/manifests/latest", formats.File, "app/tags", "latest"},
		{"GET", "v2/manifests/latest", formats.File, "tags", "latest"},
		{"GET", "v2/a/b/c/d/manifests/" + some, formats.File, "a/b/c/d/manifests", some},
		{"PUT", "v2/a/manifests/v1", formats.Write, "a/tags", "v1"},
		{"PUT", "v2/a/manifests/" + some, formats.Write, "a/manifests", some},
		{"DELETE", "v2/a/manifests/v1", formats.Delete, "a/tags", "v1"},
		{"GET", "v2/a/blobs/" + some, formats.File, "a/blobs", some},
		{"GET", "v2/a/blobs/" + long(nil), formats.File, "a/blobs", long(nil)},
		{"DELETE", "v2/a/blobs/" + some, formats.Delete, "a/blobs", some},
		{"POST", "v2/a/blobs/uploads", formats.Call, "a/blobs", ""},
		{"PATCH", "v2/a/blobs/uploads/id", formats.Call, "a/blobs", "id"},
		{"GET", "v2/a/tags/list", formats.Call, "a/tags", ""},
		{"GET", "v2/a/referrers/" + some, formats.Call, "a/referrers/" + some, some},
		{"GET", "v2/_catalog", formats.Call, "", ""},
		// Images may be called like the protocol's words.
		{"GET", "v2/manifests/blobs/tags/manifests/list", formats.File, "manifests/blobs/tags/tags", "list"},
		{"GET", "v2/a/manifests/tags/list", formats.Call, "a/manifests/tags", ""},
		{"POST", "v2/a/manifests/blobs/uploads", formats.Call, "a/manifests/blobs", ""},
		{"GET", "v2/v2/app/manifests/x", formats.File, "v2/app/tags", "x"},
		{"GET", "v2/blobs/uploads/blobs/uploads/id", formats.Call, "blobs/uploads/blobs", "id"},
	} {
		op, ok := docker.New().Route(formats.Req{Method: c.method, Path: c.path})
		if !ok || op.Kind != c.kind || op.Scope != c.scope || op.Name != c.name || op.Label == "invalid" {
			t.Errorf("%s %s: %+v, %v", c.method, c.path, op, ok)
		}
		if strings.Contains(op.Name, ":") && op.Kind == formats.File && (!op.Fixed || op.Sum.IsZero()) {
			t.Errorf("%s %s: a digest does not fix the bytes", c.method, c.path)
		}
	}
	for _, c := range []struct{ method, path string }{
		{"GET", "v2"}, {"GET", ""}, {"GET", "v2/a"}, {"GET", "v2/a/blobs"}, {"PUT", "v2/a/blobs/" + some},
		{"POST", "v2/a/manifests/x"}, {"DELETE", "v2/a/tags/list"}, {"GET", "v2/a/blobs/uploads"}, {"PATCH", "v2/_catalog"},
		{"BREW", "v2/a/manifests/x"}, {"GET", "v2/a/tags/other"},
	} {
		if op, ok := docker.New().Route(formats.Req{Method: c.method, Path: c.path}); ok {
			t.Errorf("%s %s is %+v", c.method, c.path, op)
		}
	}
	for _, path := range []string{
		"v2/A/manifests/x", "v2/a//b/manifests/x", "v2/-a/blobs/" + some, "v2/a/blobs/sha256:xyz", "v2/a/blobs/md5:00",
		"v2/a/manifests/sha256:" + strings.Repeat("A", 64), "v2/a..b/tags/list", "v2/" + strings.Repeat("a", 256) + "/tags/list",
	} {
		if op, ok := docker.New().Route(formats.Req{Method: "GET", Path: path}); !ok || op.Label != "invalid" || op.Needs() != formats.VerbRead {
			t.Errorf("%s: %+v, %v", path, op, ok)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "v2/a/manifests/latest")
	f.Add("PUT", "a/blobs/uploads/x")
	f.Add("GET", "referrers/"+some)
	f.Fuzz(func(t *testing.T, method, path string) {
		op, ok := docker.New().Route(formats.Req{Method: method, Path: path, Query: url.Values{}, Header: http.Header{}})
		if !ok {
			return
		}
		if op.Kind == 0 || op.Label == "" || op.Kind == formats.Call && op.Verb == "" {
			t.Errorf("%s %q: %+v", method, path, op)
		}
		if op.Kind != formats.Call && (op.Name == "" || strings.Contains(op.Name, "/") || strings.HasPrefix(op.Scope, "/") || strings.HasSuffix(op.Scope, "/")) {
			t.Errorf("%s %q: scope %q, name %q", method, path, op.Scope, op.Name)
		}
		docker.New().PackageOf(op)
	})
}

func TestAsk(t *testing.T) {
	for _, c := range []struct{ base, path, want string }{
		{"https://mirror.docker.io", "v2/nginx/manifests/latest", "v2/library/nginx/manifests/latest"},
		{"https://other.docker.io/", "v2/nginx/blobs/" + some, "v2/library/nginx/blobs/" + some},
		{"https://mirror.docker.io", "v2/team/nginx/manifests/latest", "v2/team/nginx/manifests/latest"},
		{"https://mirror.docker.io", "v2/nginx/tags/list", "v2/library/nginx/tags/list"},
		{"https://registry.example.com", "v2/nginx/manifests/latest", "v2/nginx/manifests/latest"},
		{"https://registry.example.com", "https://registry.example.com/v2/a/tags/list?n=1", "https://registry.example.com/v2/a/tags/list?n=1"},
	} {
		got, h := docker.New().Ask(c.base, c.path)
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.path, c.base, got, c.want)
		}
		if strings.Contains(c.path, "/manifests/") != strings.Contains(h.Get("Accept"), "image.index") {
			t.Errorf("%s asks for %q", c.path, h.Get("Accept"))
		}
	}
	for _, c := range []struct {
		base, host string
		want       bool
	}{
		{"https://mirror.docker.io", "docker.io", true},
		{"https://ghcr.example.com", "ghcr.example.com", true},
		{"https://ghcr.example.com:5000/path", "ghcr.example.com:5000", true},
		{"https://ghcr.example.com", "docker.io", false},
		{"https://ghcr.example.com", "", false},
	} {
		if got := docker.New().Mirrors(c.base, c.host); got != c.want {
			t.Errorf("%s mirrors %q: %v", c.base, c.host, got)
		}
	}
}

func TestKeeps(t *testing.T) {
	config, layer, child := sha([]byte("config")), sha([]byte("layer")), sha([]byte("child"))
	image := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q},"layers":[{"digest":%q}],"subject":{"digest":%q}}`, config, layer, child)
	sums := digest.Sums{}
	raw, _ := hex.DecodeString(sha(image)[7:])
	sums.Set(digest.SHA256, raw)
	tag := formats.Record{Scope: "a/tags", Name: "latest", Sums: sums}
	got := kept(t, tag, image)
	for _, want := range []string{"a/manifests/" + sha(image), "a/blobs/" + config, "a/blobs/" + layer, "a/manifests/" + child, "a/referrers/" + sha(image) + "/"} {
		if !strings.Contains(got, want+" ") {
			t.Errorf("a tag does not keep %s: %s", want, got)
		}
	}
	index := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q}]}`, child)
	if got := kept(t, formats.Record{Scope: "a/manifests", Name: sha(index), Sums: sums}, index); !strings.Contains(got, "a/manifests/"+child+" ") {
		t.Errorf("an index keeps %s", got)
	}
	cache := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q}]}`, layer)
	if got := kept(t, formats.Record{Scope: "a/manifests", Name: sha(cache), Sums: sums}, cache); !strings.Contains(got, "a/blobs/"+layer+" ") {
		t.Errorf("a build cache keeps %s", got)
	}
	if got := kept(t, formats.Record{Scope: "referrers/" + child, Name: ":" + some}, nil); got != "manifests/"+some+" " {
		t.Errorf("a pointer keeps %q", got)
	}
	for _, scope := range []string{"a/blobs", "a/referrers/blobs"} {
		if got := kept(t, formats.Record{Scope: scope, Name: some}, nil); got != "" {
			t.Errorf("a blob in %s keeps %q", scope, got)
		}
	}
	if f := docker.New(); !f.Rooted(tag) || f.Rooted(formats.Record{Scope: "a/manifests", Name: some}) || f.Rooted(formats.Record{Scope: "a/blobs", Name: some}) {
		t.Error("tags alone are rooted")
	}
}

// Only tags and referrers are listed by an upstream, whatever images are called.
func TestEntry(t *testing.T) {
	for _, c := range []struct{ scope, want string }{
		{"app/tags", "v2/app/tags/list"},
		{"tags", "v2/tags/list"},
		{"app/referrers/" + some, "v2/app/referrers/" + some},
		{"referrers/" + long(nil), "v2/referrers/" + long(nil)},
		{"app/referrers/tags", "v2/app/referrers/tags/list"},
		{"app/referrers/referrers/" + some, "v2/app/referrers/referrers/" + some},
		{"app/manifests", ""},
		{"app/blobs", ""},
		{"app/referrers/manifests", ""},
		{"app/referrers/blobs", ""},
		{"referrers/manifests", ""},
	} {
		if got := docker.New().Entry(c.scope); got != c.want {
			t.Errorf("%s: %q, want %q", c.scope, got, c.want)
		}
	}
}
