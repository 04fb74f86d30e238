package httpapi

import (
	"net/http"
	"strings"
	"testing"
)

// The document tells what is there: each operation of the registry surface and
// below repositories is answered, by the surface, and no other method is.
func TestDescribedSurfaces(t *testing.T) {
	r := newRig(t)
	r.Create("images", "hosted", "docker", nil)
	r.Create("files", "hosted", "raw", nil)
	manifest := r.pushImage("admin", "images/app", "v1", "layer")
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]any
		}
	}
	r.do("admin", "GET", "/api-docs/openapi.json", nil).status(200).decode(&doc)
	values := strings.NewReplacer("{name}", "images/app", "{reference}", "v1", "{digest}", shaOf(manifest), "{repo}", "files", "{path}", "a.txt",
		"{session}", "01234567-89ab-4def-8123-456789abcdef")
	seen := 0
	for path, methods := range doc.Paths {
		if !strings.HasPrefix(path, "/v2/") && !strings.HasPrefix(path, "/repository/") {
			continue
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"} {
			a := r.do("admin", method, values.Replace(path), nil)
			answers, described := methods[strings.ToLower(method)]
			if method == "HEAD" && !described {
				continue // is told where clients use it
			}
			if refused := a.StatusCode == http.StatusMethodNotAllowed || a.StatusCode == http.StatusNotFound && a.Header.Get("Docker-Distribution-Api-Version") == "" &&
				strings.HasPrefix(path, "/v2/"); described == refused && !(described && strings.HasPrefix(path, "/repository/") && method == "POST") {
				t.Errorf("%s %s: %d, described: %v (%v)", method, path, a.StatusCode, described, answers)
			}
			if strings.HasPrefix(path, "/v2/") && a.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
				t.Errorf("%s %s is not answered by the surface", method, path)
			}
			if described {
				seen++
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d operations are described", seen)
	}
}
