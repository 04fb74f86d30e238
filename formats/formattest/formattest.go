// Package formattest has what tests of formats need: a hosted repository in
// memory ([Store]) that also checks how the format uses the contract, upstreams
// ([Source]), publications ([Pub]), and builders of packages and forms.
package formattest

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"granary/formats"
)

// Request returns what the core makes of a request: target is a path below the
// repository, percent-encoded, perhaps with a query.
func Request(tb testing.TB, method, target string, header http.Header) formats.Req {
	tb.Helper()
	u, err := url.Parse("/" + strings.TrimPrefix(target, "/"))
	if err != nil {
		tb.Fatalf("request %q: %v", target, err)
	}
	var segs []string
	for seg := range strings.SplitSeq(u.Path, "/") {
		switch seg {
		case "", ".":
		case "..":
			tb.Fatalf("request %q: the core refuses dot-dot segments", target)
		default:
			segs = append(segs, seg)
		}
	}
	if header == nil {
		header = http.Header{}
	}
	return formats.Req{Method: method, Path: strings.Join(segs, "/"), Slash: strings.HasSuffix(u.Path, "/"), Query: u.Query(), Header: header}
}

// Part is a field of a form, a file if it has a file name.
type Part struct {
	Name, File, Content string
	Header              http.Header
}

// Form returns a form's header and body.
func Form(tb testing.TB, parts ...Part) (http.Header, []byte) {
	tb.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range parts {
		h := textproto.MIMEHeader{}
		for k, v := range p.Header {
			h[k] = v
		}
		h.Set("Content-Disposition", `form-data; name="`+p.Name+`"`)
		if p.File != "" {
			h.Set("Content-Disposition", multipart.FileContentDisposition(p.Name, p.File))
		}
		pw, err := w.CreatePart(h)
		if err == nil {
			_, err = io.WriteString(pw, p.Content)
		}
		if err != nil {
			tb.Fatalf("build form: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatalf("build form: %v", err)
	}
	return http.Header{"Content-Type": {w.FormDataContentType()}}, body.Bytes()
}
