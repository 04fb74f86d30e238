// Package pypi is the Python package index: the legacy upload API, the simple
// API as HTML and JSON, and the JSON API per project.
//
// A file is a record packages/<project>/<version>/<file>, project and version in
// their normal forms. Its Meta has what the simple API says of it; beside it lie
// its METADATA, a signature, and attestations. A pointer per project in a scope
// of its own makes the list of all projects. See
// https://packaging.python.org/specifications/simple-repository-api/.
//
// Signatures of attestations are not verified here: that needs the keys of
// those who issue them. Their subject is.
package pypi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"granary/formats"
)

// Format is the PyPI format.
type Format struct{}

var (
	_ formats.Indexer  = (*Format)(nil)
	_ formats.Promiser = (*Format)(nil)
	_ formats.Accepter = (*Format)(nil)
	_ formats.Deriver  = (*Format)(nil)
	_ formats.Failer   = (*Format)(nil)
	_ formats.Answerer = (*Format)(nil)
	_ formats.Caller   = (*Format)(nil)

	_ formats.ComponentUploader = (*Format)(nil)
)

// New returns the format.
func New() *Format { return &Format{} }

// Name is "pypi".
func (*Format) Name() string { return "pypi" }

// Labels of operations.
const (
	labelRoot       = "root"
	labelProject    = "project"
	labelFile       = "file"
	labelMetadata   = "metadata"
	labelSignature  = "signature"
	labelProvenance = "provenance"
	labelUpload     = "upload"
	labelComponent  = "component"
	labelYank       = "yank"
	labelUnyank     = "unyank"
	labelVersion    = "version"
	labelJSON       = "json"
	labelRedirect   = "redirect"
	labelNoForm     = "unacceptable"
)

// Media types.
const (
	typeJSON       = "application/vnd.pypi.simple.v1+json"
	typeHTML       = "application/vnd.pypi.simple.v1+html"
	mediaText      = "text/html"
	typeText       = mediaText + "; charset=utf-8"
	typeProvenance = "application/vnd.pypi.integrity.v1+json"
	typeMetadata   = "text/plain; charset=utf-8"
	typeFile       = "application/octet-stream"
	typeWheel      = "application/zip"
	typeSdist      = "application/gzip"
	typeSignature  = "application/pgp-signature"
)

// Documents of a publication.
const (
	docHTML = "index.html"
	docJSON = "index.json"
)

// Route reads a path.
func (*Format) Route(req formats.Req) (formats.Op, bool) {
	segs := strings.Split(req.Path, "/")
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return routeRead(req, segs)
	case http.MethodPost:
		return routeWrite(req.Path, segs)
	case http.MethodDelete:
		return routeDelete(segs)
	}
	return formats.Op{}, false
}

func routeRead(req formats.Req, segs []string) (formats.Op, bool) {
	if segs[0] == "simple" {
		return routeSimple(req, segs[1:])
	}
	if req.Slash {
		return formats.Op{}, false
	}
	switch {
	case segs[0] == "packages" && len(segs) == 4:
		return routeFile(segs[1], segs[2], segs[3])
	case segs[0] == "integrity" && len(segs) == 5 && segs[4] == "provenance":
		return routeFile(segs[1], segs[2], segs[3]+endProvenance)
	case segs[0] == "pypi" && (len(segs) == 3 || len(segs) == 4) && segs[len(segs)-1] == "json":
		project, ok := normalise(segs[1])
		op := formats.Op{Kind: formats.Call, Label: labelJSON, Scope: scopeOf(project), Verb: formats.VerbRead}
		if len(segs) == 4 {
			op.Name = segs[2]
		}
		return op, ok
	}
	return formats.Op{}, false
}

// routeSimple sends who asks for another spelling of a page to the one that
// all share.
func routeSimple(req formats.Req, segs []string) (formats.Op, bool) {
	op := formats.Op{Kind: formats.Doc, Label: labelRoot, Scope: rootScope, Missing: true}
	want := ""
	if len(segs) > 1 {
		return formats.Op{}, false
	}
	if len(segs) == 1 {
		project, ok := normalise(segs[0])
		if !ok {
			return formats.Op{}, false
		}
		op.Label, op.Scope, op.Missing, want = labelProject, scopeOf(project), false, project
	}
	if !req.Slash || len(segs) == 1 && segs[0] != want {
		return formats.Op{Kind: formats.Call, Label: labelRedirect, Path: redirect(req, segs, want), Verb: formats.VerbRead}, true
	}
	form, ok := negotiate(req.Header["Accept"], req.Query.Get("format"))
	if !ok {
		return formats.Op{Kind: formats.Call, Label: labelNoForm, Verb: formats.VerbRead}, true
	}
	op.Path, op.Type = docHTML, form
	if form == typeJSON {
		op.Path = docJSON
	}
	return op, true
}

// redirect is the right page, relative to the one that was asked for.
func redirect(req formats.Req, segs []string, want string) string {
	to := want + "/"
	switch {
	case len(segs) == 0:
		to = "simple/"
	case req.Slash:
		to = "../" + to
	}
	if f := req.Query.Encode(); f != "" {
		to += "?" + f
	}
	return to
}

// routeFile reads the path of a file or of what belongs to it. Of a file whose
// digest an index has told, the bytes never change.
func routeFile(project, version, file string) (formats.Op, bool) {
	op := formats.Op{Kind: formats.File, Label: labelFile, Scope: scopeOf(project), Name: version + "/" + file, Fixed: true, Type: mediaType(file)}
	switch {
	case strings.HasSuffix(file, endMetadata):
		op.Label = labelMetadata
	case strings.HasSuffix(file, endSignature):
		op.Label = labelSignature
	case strings.HasSuffix(file, endProvenance):
		op.Label, op.Fixed = labelProvenance, false
	}
	p, ok := normalise(project)
	return op, ok && p == project && fileForm.MatchString(file) && goodVersion(version)
}

// goodVersion tells whether a path can have it: a normal form, or none.
func goodVersion(version string) bool {
	v, ok := parseVersion(version)
	return version == unversioned || ok && v.String() == version
}

func mediaType(file string) string {
	switch {
	case strings.HasSuffix(file, endMetadata):
		return typeMetadata
	case strings.HasSuffix(file, endSignature):
		return typeSignature
	case strings.HasSuffix(file, endProvenance):
		return typeProvenance
	case strings.HasSuffix(file, ".whl"), strings.HasSuffix(file, ".zip"):
		return typeWheel
	case strings.HasSuffix(file, ".tar.gz"):
		return typeSdist
	}
	return typeFile
}

func routeWrite(path string, segs []string) (formats.Op, bool) {
	switch {
	case path == "", path == "legacy":
		return formats.Op{Kind: formats.Write, Label: labelUpload}, true
	case segs[0] == "packages" && len(segs) == 4 && (segs[3] == labelYank || segs[3] == labelUnyank):
		project, ok := normalise(segs[1])
		v, known := parseVersion(segs[2])
		return formats.Op{Kind: formats.Write, Label: segs[3], Scope: scopeOf(project), Name: v.String()}, ok && known
	}
	return formats.Op{}, false
}

// routeDelete takes a file, or all files of a version.
func routeDelete(segs []string) (formats.Op, bool) {
	if segs[0] != "packages" || len(segs) < 3 || len(segs) > 4 {
		return formats.Op{}, false
	}
	project, ok := normalise(segs[1])
	if !ok || !goodVersion(segs[2]) {
		return formats.Op{}, false
	}
	op := formats.Op{Kind: formats.Delete, Label: labelVersion, Scope: scopeOf(project), Name: segs[2]}
	if len(segs) == 4 {
		op.Label, op.Name = labelFile, segs[2]+"/"+segs[3]
		ok = fileForm.MatchString(segs[3])
	}
	return op, ok
}

// Call answers what is no file or page.
func (f *Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	switch op.Label {
	case labelRedirect:
		w.Header().Set("Location", op.Path)
		w.WriteHeader(http.StatusMovedPermanently)
		return nil
	case labelNoForm:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Add("Vary", "Accept")
		w.WriteHeader(http.StatusNotAcceptable)
		_, err := io.WriteString(w, "this page can be had as "+typeJSON+", "+typeHTML+" and "+mediaText+"\n")
		return err
	case labelJSON:
		return callJSON(w, r, op, view)
	}
	return fmt.Errorf("%s: %w", op.Label, formats.ErrNotFound)
}

// Answer tells uploaders that all is well, with nothing to add.
func (*Format) Answer(w http.ResponseWriter, _ *http.Request, op formats.Op, _ []formats.Record) bool {
	if op.Label == labelUpload {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
	return true
}

// Fail tells uploaders as text, which they show. That a file exists is 400 with
// the words that they look for when they were told to skip such files.
func (*Format) Fail(w http.ResponseWriter, r *http.Request, status int, message string) bool {
	if r.Method != http.MethodPost {
		return false
	}
	if status == http.StatusConflict {
		status, message = http.StatusBadRequest, "File already exists: "+message
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// An error here is the client's going away: the status has been sent.
	io.WriteString(w, message+"\n") //nolint:errcheck // see above
	return true
}

// Accept publishes a file, yanks a version, or removes a file or version.
func (*Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch {
	case op.Kind == formats.Delete:
		return remove(ctx, op, tx)
	case op.Label == labelUpload, op.Label == labelComponent:
		s, err := readForm(ctx, up, tx)
		if err != nil {
			return err
		}
		return s.publish(ctx, tx)
	}
	return yank(ctx, op, up, tx)
}
