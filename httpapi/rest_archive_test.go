package httpapi

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"granary/repo/config"
)

func TestArchives(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	want := map[string]string{"x.txt": "x", "sub/y é.bin": strings.Repeat("yz", 40_000), "empty": ""}
	for name, body := range want {
		r.Put("files", "dir/"+strings.ReplaceAll(name, " ", "%20"), []byte(body))
	}
	r.Put("files", "directory/other", []byte("no"))
	const path = "/api/v1/repositories/files/download-archive"
	for kind, read := range map[string]func([]byte) (map[string]string, error){
		"tar": func(b []byte) (map[string]string, error) { return untar(bytes.NewReader(b)) },
		"tar.gz": func(b []byte) (map[string]string, error) {
			z, err := gzip.NewReader(bytes.NewReader(b))
			return untarFrom(z, err)
		},
		"tar.xz": func(b []byte) (map[string]string, error) {
			z, err := xz.NewReader(bytes.NewReader(b))
			return untarFrom(z, err)
		},
		"zip": unzip,
	} {
		a := r.do("admin", "GET", path+"?prefix=dir/&format="+kind, nil).status(200)
		got, err := read([]byte(a.text))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", kind, d)
		}
		if _, params, err := mime.ParseMediaType(a.Header.Get("Content-Disposition")); err != nil || params["filename"] != "dir."+kind {
			t.Errorf("%s: Content-Disposition %q", kind, a.Header.Get("Content-Disposition"))
		}
	}
	a := r.do("admin", "GET", path+"?prefix=&format=tar", nil).status(200).header("Content-Disposition", `attachment; filename="files.tar"`)
	if got, err := untar(strings.NewReader(a.text)); err != nil || got["directory/other"] != "no" || len(got) != 4 {
		t.Errorf("whole repository: %v, %v", slices.Collect(maps.Keys(got)), err)
	}
	for query, part := range map[string]string{"?format=tar": "prefix", "?prefix=dir": "format", "?prefix=dir&format=rar": "format", "?prefix=../x&format=tar": "prefix"} {
		r.do("admin", "GET", path+query, nil).fails(400, "BAD_REQUEST", part)
	}
	r.do("admin", "GET", path+"?prefix=none&format=tar", nil).fails(404, "NOT_FOUND", "none")
	r.do("admin", "HEAD", path+"?prefix=dir&format=tar", nil).status(200).header("Content-Type", "application/x-tar").is("")
	r.do("", "GET", path+"?prefix=dir&format=tar", nil).fails(401, "UNAUTHORIZED", "")
}

func untarFrom(r io.Reader, err error) (map[string]string, error) {
	if err != nil {
		return nil, err
	}
	return untar(r)
}

func untar(r io.Reader) (map[string]string, error) {
	out := map[string]string{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r)
			return out, err
		}
		if err != nil {
			return out, err
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return out, err
		}
		out[h.Name] = string(b)
	}
}

func unzip(b []byte) (map[string]string, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return out, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return out, err
		}
		out[f.Name] = string(b)
	}
	return out, nil
}
