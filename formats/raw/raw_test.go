package raw_test

import (
	"crypto/md5"  //nolint:gosec // a checksum that clients send
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"granary/digest"
	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/raw"
)

func TestRoute(t *testing.T) {
	for _, tc := range []struct {
		method, target string
		want           formats.Op
		refused        bool
	}{
		{method: "GET", target: "a/b/c.txt", want: formats.Op{Kind: formats.File, Label: "file", Scope: "a/b", Name: "c.txt"}},
		{method: "HEAD", target: "c.txt", want: formats.Op{Kind: formats.File, Label: "file", Name: "c.txt"}},
		{method: "GET", target: "a/:b", want: formats.Op{Kind: formats.File, Label: "file", Scope: "a", Name: ":b"}},
		{method: "GET", target: "a/b/", want: formats.Op{Kind: formats.Call, Label: "directory", Scope: "a/b", Verb: formats.VerbRead}},
		{method: "GET", target: "", want: formats.Op{Kind: formats.Call, Label: "directory", Verb: formats.VerbRead}},
		{method: "GET", target: "a/b?sha256", want: formats.Op{Kind: formats.Call, Label: "checksum sha256", Scope: "a", Name: "b", Verb: formats.VerbRead}},
		{method: "GET", target: "a/b?sha256=x", want: formats.Op{Kind: formats.File, Label: "file", Scope: "a", Name: "b"}},
		{method: "PUT", target: "a/b", want: formats.Op{Kind: formats.Write, Label: "file", Scope: "a", Name: "b"}},
		{method: "PUT", target: "", refused: true},
		{method: "POST", target: "a/b/", want: formats.Op{Kind: formats.Write, Label: "form", Scope: "a/b"}},
		{method: "POST", target: "", want: formats.Op{Kind: formats.Write, Label: "form"}},
		{method: "DELETE", target: "a/b", want: formats.Op{Kind: formats.Delete, Label: "file", Scope: "a", Name: "b"}},
		{method: "DELETE", target: "", refused: true},
		{method: "PATCH", target: "a/b", refused: true},
	} {
		got, ok := raw.New().Route(formattest.Request(t, tc.method, tc.target, nil))
		if ok == tc.refused {
			t.Errorf("%s %q: routed %v", tc.method, tc.target, ok)
			continue
		}
		if ok && fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tc.want) {
			t.Errorf("%s %q\n got %+v\nwant %+v", tc.method, tc.target, got, tc.want)
		}
	}
}

func TestPutAndGet(t *testing.T) {
	for _, tc := range []struct{ target, said, want string }{
		{"a/b.txt", "", "text/plain; charset=utf-8"},
		{"a/b.txt", "application/octet-stream", "text/plain; charset=utf-8"},
		{"a/b.txt", "Application/Octet-Stream; x=y", "text/plain; charset=utf-8"},
		{"a/b.txt", "image/x-mine; q=1", "image/x-mine; q=1"},
		{"a/b.txt", "binary", "text/plain; charset=utf-8"},
		{"a/b.TAR", "", "application/x-tar"},
		{"a/b.tar.gz", "", "application/gzip"},
		{"a/b", "", "application/octet-stream"},
		{"a/.profile", "", "application/octet-stream"},
		{"a/b.bin", "text/" + strings.Repeat("x", 300), "application/octet-stream"},
		{"a/%3ab", "", "application/octet-stream"},
		{"%E4%B8%AD/%20x%3F%23%25", "", "application/octet-stream"},
	} {
		s := formattest.NewStore(t, raw.New())
		a, err := s.Do("PUT", tc.target, http.Header{"Content-Type": {tc.said}}, []byte("body"))
		if err != nil {
			t.Errorf("PUT %s: %v", tc.target, err)
			continue
		}
		if got := a.Records[0].Type; got != tc.want {
			t.Errorf("PUT %s as %q: type %q, want %q", tc.target, tc.said, got, tc.want)
		}
		if a, err = s.Do("GET", tc.target, nil, nil); err != nil || string(a.Body) != "body" {
			t.Errorf("GET %s: %v", tc.target, err)
		}
		if _, err := s.Do("DELETE", tc.target, nil, nil); err != nil {
			t.Errorf("DELETE %s: %v", tc.target, err)
		}
		if _, err := s.Do("DELETE", tc.target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("DELETE %s again: %v", tc.target, err)
		}
	}
}

func TestPutChecksums(t *testing.T) {
	body := []byte("hello\n")
	s256, s512, s1, m5 := sha256.Sum256(body), sha512.Sum512(body), sha1.Sum(body), md5.Sum(body) //nolint:gosec // see imports
	h := digest.NewHasher()
	h.Write(body) //nolint:errcheck // never fails
	b3 := h.Sums().Hex(digest.BLAKE3)
	b64 := base64.StdEncoding.EncodeToString
	other := strings.Repeat("0", 64)
	for _, tc := range []struct {
		name, value string
		want        error
	}{
		{"X-Checksum-Sha256", hex.EncodeToString(s256[:]), nil},
		{"X-Checksum-Sha256", strings.ToUpper(hex.EncodeToString(s256[:])), nil},
		{"X-Checksum-Sha512", hex.EncodeToString(s512[:]), nil},
		{"X-Checksum-Sha1", hex.EncodeToString(s1[:]), nil},
		{"X-Checksum-Md5", hex.EncodeToString(m5[:]), nil},
		{"X-Checksum-Blake3", b3, nil},
		{"X-Checksum-Sha256", other, formats.ErrChecksum},
		{"X-Checksum-Blake3", other, formats.ErrChecksum},
		{"X-Checksum-Sha1", other[:40], formats.ErrChecksum},
		{"X-Checksum-Sha256", "", formats.ErrBadRequest},
		{"X-Checksum-Sha256", other[:62], formats.ErrBadRequest},
		{"X-Checksum-Md5", "zz", formats.ErrBadRequest},
		{"Content-MD5", b64(m5[:]), nil},
		{"Content-MD5", b64(m5[:8]), formats.ErrBadRequest},
		{"Content-MD5", b64(make([]byte, 16)), formats.ErrChecksum},
		{"Digest", "SHA-256=" + b64(s256[:]) + ", UNIXsum=30637", nil},
		{"Digest", "sha=" + b64(make([]byte, 20)), formats.ErrChecksum},
		{"Digest", "md5=:::", formats.ErrBadRequest},
		{"Content-Digest", "sha-512=:" + b64(s512[:]) + ":", nil},
		{"Repr-Digest", "sha-256=:" + b64(make([]byte, 32)) + ":, crc32c=:AAAA:", formats.ErrChecksum},
	} {
		s := formattest.NewStore(t, raw.New())
		header := http.Header{}
		header.Set(tc.name, tc.value)
		_, err := s.Do("PUT", "f", header, body)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %s: got %v, want %v", tc.name, tc.value, err, tc.want)
		}
		if stored := len(s.Keys()) == 1; stored != (tc.want == nil) {
			t.Errorf("%s: %s: stored %v", tc.name, tc.value, stored)
		}
	}
	s := formattest.NewStore(t, raw.New())
	header := http.Header{"X-Checksum-Sha256": {hex.EncodeToString(s256[:]), other}}
	if _, err := s.Do("PUT", "f", header, body); !errors.Is(err, formats.ErrChecksum) {
		t.Errorf("two digests that disagree: %v", err)
	}
}

func TestChecksumFiles(t *testing.T) {
	body := []byte("hello\n")
	s256, m5 := sha256.Sum256(body), md5.Sum(body) //nolint:gosec // see imports
	s := formattest.NewStore(t, raw.New())
	if _, err := s.Do("PUT", "d/f.tar", http.Header{"X-Checksum-Md5": {hex.EncodeToString(m5[:])}}, body); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"d/f.tar.sha256": fmt.Sprintf("%x  f.tar\n", s256),
		"d/f.tar?sha256": fmt.Sprintf("%x  f.tar\n", s256),
		"d/f.tar.md5":    fmt.Sprintf("%x  f.tar\n", m5),
	} {
		a, err := s.Do("GET", target, nil, nil)
		if err != nil || string(a.Body) != want {
			t.Errorf("GET %s: %v, %+v", target, err, a)
		}
	}
	if a, err := s.Do("GET", "d/f.tar.blake3", nil, nil); err != nil || len(a.Body) != 64+2+5+1 {
		t.Errorf("blake3: %v", err)
	}
	for _, target := range []string{"d/f.tar.sha1", "d/f.tar?sha512", "d/g.sha256", "d/.sha256", "d/f.tar.sha256.sha256", "d/f.tar.crc"} {
		if _, err := s.Do("GET", target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("GET %s: %v", target, err)
		}
	}
	if _, err := s.Do("PUT", "d/f.tar.sha256", nil, []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Do("GET", "d/f.tar.sha256", nil, nil); err != nil || string(a.Body) != "mine" {
		t.Errorf("a stored checksum file is not served: %v", err)
	}
}

func TestForm(t *testing.T) {
	sum := sha256.Sum256([]byte("two"))
	file := func(name, content string) formattest.Part {
		return formattest.Part{Name: "file", File: name, Content: content}
	}
	many := make([]formattest.Part, 101)
	for i := range many {
		many[i] = file(fmt.Sprint(i), "x")
	}
	for _, tc := range []struct {
		name  string
		parts []formattest.Part
		cut   int
		want  error
		keys  string
	}{
		{name: "files and a field", keys: "d/e/a.txt d/e/b :c", parts: []formattest.Part{
			file("a.txt", "one"), {Name: "comment", Content: "none"},
			{Name: "more", File: "b :c", Content: "two", Header: http.Header{"X-Checksum-Sha256": {hex.EncodeToString(sum[:])}}},
		}},
		{name: "directories of the client are dropped", keys: "d/e/passwd", parts: []formattest.Part{file("../../etc/passwd", "x")}},
		{name: "no file", want: formats.ErrBadRequest, parts: []formattest.Part{{Name: "comment"}}},
		{name: "one name twice", want: formats.ErrBadRequest, parts: []formattest.Part{file("a", "1"), file("a", "2")}},
		{name: "dot-dot", want: formats.ErrBadRequest, parts: []formattest.Part{file("a", "1"), file("..", "2")}},
		{name: "control character", want: formats.ErrBadRequest, parts: []formattest.Part{file("a\x01", "1")}},
		{name: "long name", want: formats.ErrBadRequest, parts: []formattest.Part{file(strings.Repeat("a", 256), "1")}},
		{name: "too many", want: formats.ErrBadRequest, parts: many},
		{name: "cut", want: formats.ErrTruncated, cut: 20, parts: []formattest.Part{file("a", "1"), file("b", "2")}},
		{name: "second is wrong", want: formats.ErrChecksum, parts: []formattest.Part{
			file("a", "1"), {Name: "f", File: "b", Content: "three", Header: http.Header{"X-Checksum-Sha256": {hex.EncodeToString(sum[:])}}},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := formattest.NewStore(t, raw.New())
			header, body := formattest.Form(t, tc.parts...)
			_, err := s.Do("POST", "d/e/", header, body[:len(body)-tc.cut])
			if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if got := strings.Join(s.Keys(), " "); got != tc.keys {
				t.Errorf("stored %q, want %q", got, tc.keys)
			}
		})
	}
	s := formattest.NewStore(t, raw.New())
	if _, err := s.Do("POST", "d/", http.Header{"Content-Type": {"text/plain"}}, []byte("x")); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("POST of text: %v", err)
	}
}

func TestDisposition(t *testing.T) {
	if name, ok := raw.New().Disposition(formats.Op{Scope: "a", Name: "b c.txt"}); !ok || name != "b c.txt" {
		t.Errorf("got %q %v", name, ok)
	}
}

func FuzzRoute(f *testing.F) {
	for _, p := range []string{"", "a", "a/b.sha256", ":x", "a/:b"} {
		f.Add("GET", p, true)
	}
	f.Fuzz(func(t *testing.T, method, p string, slash bool) {
		if p != "" && formats.CheckPath(p) != nil {
			t.Skip()
		}
		op, ok := raw.New().Route(formats.Req{Method: method, Path: p, Slash: slash})
		if !ok {
			return
		}
		if op.Kind != formats.Call && op.Label != "form" && op.Key() != p {
			t.Errorf("%s %q: key %q", method, p, op.Key())
		}
		if sub, ok := raw.New().Substitute(op); ok && (sub.Kind != formats.Call || sub.Name == "" || sub.Scope != op.Scope) {
			t.Errorf("%q: substitute %+v", p, sub)
		}
	})
}

func FuzzAccept(f *testing.F) {
	_, body := formattest.Form(f, formattest.Part{Name: "file", File: "a.txt", Content: "x"})
	f.Add("multipart/form-data; boundary=x", "MD5=abc", []byte("--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nq\r\n--x--"))
	f.Add("multipart/form-data; boundary=x", "", body)
	f.Fuzz(func(t *testing.T, contentType, digests string, body []byte) {
		for _, method := range []string{"POST", "PUT"} {
			s := formattest.NewStore(t, raw.New())
			_, err := s.Do(method, "dir/name", http.Header{"Content-Type": {contentType}, "Digest": {digests}}, body)
			if (err == nil) != (len(s.Keys()) > 0) {
				t.Errorf("%v, stored %q", err, s.Keys())
			}
			if err != nil && !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrChecksum) {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}
