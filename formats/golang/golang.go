// Package golang is the Go module proxy protocol: what GOPROXY points at, with
// the checksum database passed through.
//
// Records keep the names that clients see: below the escaped module path
// ("github.com/!burnt!sushi/toml/@v") lie "v1.3.2.info", "v1.3.2.mod" and
// "v1.3.2.zip", and for @latest a pointer ":v1.3.2" per version in a scope of
// its own. See https://go.dev/ref/mod#goproxy-protocol and, for sumdb/,
// https://go.dev/design/25530-sumdb#proxying-a-checksum-database.
//
// The signatures of the checksum database are not verified here: its clients
// do, with keys that a repository does not have.
package golang

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"granary/formats"
)

// Format is the Go module format.
type Format struct {
	now func() time.Time
}

var (
	_ formats.Indexer  = (*Format)(nil)
	_ formats.Verifier = (*Format)(nil)
	_ formats.Failer   = (*Format)(nil)
	_ formats.Speaker  = (*Format)(nil)
	_ formats.Answerer = (*Format)(nil)
	_ formats.Caller   = (*Format)(nil)
)

// New returns the format; now dates versions that are uploaded without a time.
func New(now func() time.Time) *Format { return &Format{now: now} }

// Name is "golang".
func (*Format) Name() string { return "golang" }

// Labels of operations; those of files are their extensions.
const (
	labelList   = "list"
	labelLatest = "latest"
	labelInfo   = "info"
	labelMod    = "mod"
	labelZip    = "zip"
	labelSumDB  = "sumdb"
	labelUpload = "upload"
	labelNone   = "none"
)

// Paths.
const (
	versions   = "/@v"      // end of the scope of a module's versions
	latest     = "/@latest" // end of the scope of its pointers
	listDoc    = "list"
	latestDoc  = "@latest"
	uploadPath = "upload"
)

// Media types.
const (
	typeText = "text/plain; charset=utf-8"
	typeJSON = "application/json"
	typeZip  = "application/zip"
	typeTile = "application/octet-stream"
)

func mediaType(label string) string {
	switch label {
	case labelInfo:
		return typeJSON
	case labelZip:
		return typeZip
	}
	return typeText
}

// Route reads a path. What is not in the protocol, such as a path whose
// upper-case letters are not escaped, is not there: the go command must hear 404
// to go on to its next proxy.
func (*Format) Route(req formats.Req) (formats.Op, bool) {
	if req.Slash {
		return formats.Op{}, false
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		op, ok := routeRead(req.Path)
		if !ok && strings.Contains(req.Path, versions+"/") {
			// PUT has a route here, which would make it a 405.
			return formats.Op{Kind: formats.Call, Label: labelNone, Verb: formats.VerbRead}, true
		}
		return op, ok
	case http.MethodPut, http.MethodPost:
		return routeWrite(req.Method, req.Path)
	case http.MethodDelete:
		return routeDelete(req.Path)
	}
	return formats.Op{}, false
}

func routeRead(path string) (formats.Op, bool) {
	if op, ok := routeSumDB(path); ok {
		return op, true
	}
	escaped, rest, ok := strings.Cut(path, "/@")
	if !ok {
		return formats.Op{}, false
	}
	name, err := module.UnescapePath(escaped)
	if err != nil {
		return formats.Op{}, false
	}
	switch rest {
	case "latest":
		return formats.Op{Kind: formats.Doc, Label: labelLatest, Scope: path, Path: latestDoc}, true
	case "v/list":
		return formats.Op{Kind: formats.Doc, Label: labelList, Scope: escaped + versions, Path: listDoc}, true
	}
	file, ok := strings.CutPrefix(rest, "v/")
	if !ok {
		return formats.Op{}, false
	}
	return routeFile(formats.File, name, escaped, file)
}

// routeFile reads "v1.0.0.zip". A version that is not canonical, such as the
// name of a branch, is a query: only .info answers it, and not always the same.
func routeFile(kind formats.Kind, name, escaped, file string) (formats.Op, bool) {
	base, ext, ok := splitExt(file)
	if !ok {
		return formats.Op{}, false
	}
	version, err := module.UnescapeVersion(base)
	if err != nil {
		return formats.Op{}, false
	}
	fixed := canonical(name, version)
	if !fixed && ext != labelInfo {
		return formats.Op{}, false
	}
	return formats.Op{
		Kind: kind, Label: ext, Scope: escaped + versions, Name: file, Fixed: fixed, Type: mediaType(ext),
	}, true
}

// canonical tells whether the version is a full semantic version that the
// module path can have.
func canonical(name, version string) bool {
	return module.CanonicalVersion(version) == version && module.Check(name, version) == nil
}

// splitExt cuts one of the three extensions off.
func splitExt(file string) (base, ext string, ok bool) {
	for _, ext := range [...]string{labelInfo, labelMod, labelZip} {
		if base, ok := strings.CutSuffix(file, "."+ext); ok && base != "" {
			return base, ext, true
		}
	}
	return file, "", false
}

// routeWrite takes "upload", and by PUT the files of a version at their paths.
// Whether the names in a path are good is left to Accept, which can say what is
// wrong. Properties behind a semicolon, which some publishers append, are not
// part of a name.
func routeWrite(method, path string) (formats.Op, bool) {
	if path == uploadPath {
		return formats.Op{Kind: formats.Write, Label: labelUpload}, true
	}
	path, _, _ = strings.Cut(path, ";")
	name, file, ok := strings.Cut(path, versions+"/")
	if !ok || method != http.MethodPut {
		return formats.Op{}, false
	}
	_, ext, ok := splitExt(file)
	if !ok {
		return formats.Op{}, false
	}
	return formats.Op{Kind: formats.Write, Label: ext, Scope: name + versions, Name: file}, true
}

// routeDelete takes any file of a version, or the version without extension,
// for the whole version; a query that a cache keeps; and a file of sumdb/.
func routeDelete(path string) (formats.Op, bool) {
	if op, ok := routeSumDB(path); ok {
		op.Kind = formats.Delete
		return op, true
	}
	escaped, file, ok := strings.Cut(path, versions+"/")
	if !ok {
		return formats.Op{}, false
	}
	name, err := module.UnescapePath(escaped)
	if err != nil {
		return formats.Op{}, false
	}
	if _, _, ok := splitExt(file); !ok {
		file += "." + labelZip
	}
	return routeFile(formats.Delete, name, escaped, file)
}

// Call answers what no module can have.
func (*Format) Call(_ http.ResponseWriter, r *http.Request, _ formats.Op, _ formats.View) error {
	return fmt.Errorf("%s is no file of a Go module: %w", r.URL.Path, formats.ErrNotFound)
}

// Speaks knows the go command by what it asks for.
func (*Format) Speaks(r *http.Request) bool {
	p := formats.SiteOf(r.Context()).Path
	return strings.Contains(p, "/@v/") || strings.HasSuffix(p, "/@latest") || strings.HasPrefix(p, "sumdb/")
}

// Fail tells the go command what is wrong as text, which it shows. Clients that
// write get the JSON of the core.
func (*Format) Fail(w http.ResponseWriter, r *http.Request, status int, message string) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", typeText)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error here is the client's going away: the status has been sent.
	io.WriteString(w, message+"\n") //nolint:errcheck // see above
	return true
}
