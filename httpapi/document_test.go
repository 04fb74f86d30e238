package httpapi

import (
	"archive/zip"
	"bytes"
	"mime/multipart"
	"testing"

	"granary/repo/config"
)

// moduleForm is the upload of a module that has nothing but a go.mod.
func moduleForm(t *testing.T, module, version string) (body *bytes.Buffer, contentType string) {
	t.Helper()
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, err := z.Create(module + "@" + version + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("module " + module + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	body = &bytes.Buffer{}
	m := multipart.NewWriter(body)
	for name, value := range map[string]string{"module": module, "version": version} {
		if err := m.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	part, err := m.CreateFormFile("zip", "m.zip")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(archive.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return body, m.FormDataContentType()
}

func TestDocuments(t *testing.T) {
	r := newRig(t)
	r.Create("mods", config.Hosted, "golang", nil)
	r.Group("all", "golang", "mods")
	for _, version := range []string{"v1.0.0", "v1.1.0"} {
		body, contentType := moduleForm(t, "example.com/m", version)
		r.do("admin", "POST", "/repository/mods/upload", body, "Content-Type", contentType).status(200)
	}
	for _, name := range []string{"mods", "all"} {
		list := r.do("admin", "GET", "/repository/"+name+"/example.com/m/@v/list", nil).status(200).is("v1.0.0\nv1.1.0\n").
			header("Cache-Control", "private, no-cache")
		if tag := list.Header.Get("Etag"); tag == "" {
			t.Error("a document without an entity tag")
		} else {
			r.do("admin", "GET", "/repository/"+name+"/example.com/m/@v/list", nil, "If-None-Match", tag).status(304)
		}
		r.do("admin", "HEAD", "/repository/"+name+"/example.com/m/@v/list", nil).status(200).is("")
		r.do("admin", "GET", "/repository/"+name+"/example.com/m/@v/v1.0.0.mod", nil).status(200).is("module example.com/m\n").
			header("Cache-Control", "private, max-age=31536000, immutable")
	}
	r.do("admin", "GET", "/repository/mods/example.com/none/@v/list", nil).status(404)
	r.do("admin", "PUT", "/repository/mods/example.com/m/@v/list", nil).status(405).header("Content-Type", "text/plain; charset=utf-8")
}
