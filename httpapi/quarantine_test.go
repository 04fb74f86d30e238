package httpapi

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestQuarantineByHand(t *testing.T) {
	const path = "/api/v1/repositories/files/quarantine"
	r := newRig(t)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"files","repo_type":"hosted","format":"raw"}`).status(201)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"all","repo_type":"proxy","format":"raw","members":["files"]}`).status(201)
	r.user("reader", "read", "*")
	r.user("owner", "admin", "files")
	for _, file := range []string{"a/good", "a/bad", "b/c/d"} {
		r.do("admin", "PUT", "/repository/files/"+file, strings.NewReader(file)).status(201)
	}
	if got := r.do("reader", "GET", path, nil).status(200).text; strings.TrimSpace(got) != "[]" {
		t.Errorf("before: %s", got)
	}
	r.json("reader", "POST", path, `{"item":"a/bad","reason":"x"}`).status(403)
	for body, status := range map[string]int{
		`{"item":"a/bad"}`: 422, `{"reason":"x"}`: 422, `{"item":"","reason":"x"}`: 400, `{"item":"a/bad","reason":" "}`: 400, `{"item":"/a","reason":"x"}`: 400,
		`{"item":"a\u0000","reason":"x"}`: 400, `{"item":"a","reason":"x\ny"}`: 400, `{"item":"` + strings.Repeat("a", 901) + `","reason":"x"}`: 400, `[]`: 422,
	} {
		r.json("admin", "POST", path, body).fails(status, "BAD_REQUEST", "")
	}
	r.json("owner", "POST", path, `{"item":"a/bad","reason":"CVE-2026-1234"}`).status(201)
	r.json("owner", "POST", path, `{"item":"b/","reason":"not ours"}`).status(201)
	r.json("owner", "POST", path, `{"item":"a/bad","reason":"again"}`).fails(409, "CONFLICT", "")
	r.json("admin", "POST", "/api/v1/repositories/all/quarantine", `{"item":"a/bad","reason":"x"}`).fails(400, "BAD_REQUEST", "quarantine")
	r.json("admin", "POST", "/api/v1/repositories/nobody/quarantine", `{"item":"a/bad","reason":"x"}`).status(404)
	if got := r.do("reader", "GET", path, nil).status(200).text; !strings.Contains(got, `"item":"a/bad","reason":"CVE-2026-1234","created_by":"owner"`) {
		t.Errorf("listed: %s", got)
	}
	for method, file := range map[string]string{"GET": "a/bad", "HEAD": "b/c/d"} {
		a := r.do("reader", method, "/repository/files/"+file, nil).status(403)
		if a.Header.Get("X-Granary-Policy") != "quarantined" || method == "GET" && !strings.Contains(a.text, "CVE-2026-1234") {
			t.Errorf("%s: %s %v", file, a.text, a.Header)
		}
	}
	if a := r.do("reader", "GET", "/repository/all/a/bad", nil).status(404); a.Header.Get("X-Granary-Policy") != "quarantined" {
		t.Errorf("through a group: %v", a.Header)
	}
	r.do("reader", "GET", "/repository/files/a/good", nil).status(200)
	archived := tar.NewReader(strings.NewReader(r.do("reader", "GET", "/api/v1/repositories/files/download-archive?prefix=&format=tar", nil).status(200).text))
	var names []string
	for {
		h, err := archived.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "a/good" {
		t.Errorf("in an archive: %s", got)
	}
	r.do("reader", "DELETE", path+"/a%2Fbad", nil).status(403)
	r.do("owner", "DELETE", path+"/a%2Fbad", nil).status(204)
	r.do("owner", "DELETE", path+"/a%2Fbad", nil).status(404)
	r.do("owner", "DELETE", path+"/b%2F", nil).status(204)
	r.do("reader", "GET", "/repository/files/a/bad", nil).status(200)
	r.do("reader", "GET", "/repository/all/b/c/d", nil).status(200)
}
