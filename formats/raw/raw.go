// Package raw serves files as they are, at whatever path they were put: build
// results, installers, archives, or any tree of an upstream web server.
//
// It renders no documents. Directory listings and checksum files are calls,
// answered from the records when they are asked for.
package raw

import (
	"net/http"
	"path"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Format is the raw format.
type Format struct{}

var (
	_ formats.Format            = Format{}
	_ formats.Caller            = Format{}
	_ formats.Substituter       = Format{}
	_ formats.Titler            = Format{}
	_ formats.ComponentUploader = Format{}
)

// New returns the format.
func New() Format { return Format{} }

// Name is "raw".
func (Format) Name() string { return "raw" }

// Labels of operations. That of a checksum is followed by its algorithm.
const (
	labelFile      = "file"
	labelForm      = "form"
	labelComponent = "component"
	labelList      = "directory"
	labelChecksum  = "checksum "
)

// Route reads a path. Any is a file; one that ends in a slash, and the root,
// is a directory when it is read or takes a form.
func (Format) Route(req formats.Req) (formats.Op, bool) {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		if req.Path == "" || req.Slash {
			return formats.Op{Kind: formats.Call, Label: labelList, Scope: req.Path, Verb: formats.VerbRead}, true
		}
		op := file(formats.File, req.Path)
		for _, a := range digest.Algorithms {
			if req.Query.Has(string(a)) && req.Query.Get(string(a)) == "" {
				return checksum(op, op.Name, a), true
			}
		}
		return op, true
	case http.MethodPost:
		return formats.Op{Kind: formats.Write, Label: labelForm, Scope: req.Path}, true
	case http.MethodPut:
		return file(formats.Write, req.Path), req.Path != ""
	case http.MethodDelete:
		return file(formats.Delete, req.Path), req.Path != ""
	}
	return formats.Op{}, false
}

func file(kind formats.Kind, p string) formats.Op {
	dir, name := path.Split(p)
	return formats.Op{Kind: kind, Label: labelFile, Scope: strings.TrimSuffix(dir, "/"), Name: name}
}

// checksum is the call that prints a digest of the file name in op's directory.
func checksum(op formats.Op, name string, a digest.Algorithm) formats.Op {
	return formats.Op{Kind: formats.Call, Label: labelChecksum + string(a), Scope: op.Scope, Name: name, Verb: formats.VerbRead}
}

// Substitute answers "x.sha256", where no such file was stored, from the
// digests of "x"; the same for the other algorithms.
func (Format) Substitute(op formats.Op) (formats.Op, bool) {
	name, ext, ok := cutLast(op.Name, ".")
	if !ok || name == "" || digest.Algorithm(ext).Size() == 0 {
		return formats.Op{}, false
	}
	return checksum(op, name, digest.Algorithm(ext)), true
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Disposition is the last segment of the path.
func (Format) Disposition(op formats.Op) (string, bool) {
	return op.Name, op.Name != ""
}

// Call prints a directory or a checksum.
func (f Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	if a, ok := strings.CutPrefix(op.Label, labelChecksum); ok {
		return printChecksum(w, r, op, digest.Algorithm(a), view)
	}
	return printDirectory(w, r, op.Scope, view)
}
