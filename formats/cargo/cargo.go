// Package cargo is the sparse registry protocol of Cargo: the index, the web
// API of a registry, and downloads.
//
// A version is two records in the scope of its crate ("crates/serde"): the file
// "serde-1.0.0.crate", and the pointer ":1.0.0" whose Meta is the line of the
// index. Yanking moves the pointer. The pointer is named without build metadata,
// so that of two versions which differ in nothing else the first one is kept. A
// version is in the index only while both are there and agree, so that neither
// a crash between them nor the members of a group can mix two versions up. What
// belongs to the crate as a whole (its spelling, its owners) is a pointer in a
// scope of its own, named by what the spellings of one name have in common.
//
// See https://doc.rust-lang.org/cargo/reference/registry-index.html and
// registry-web-api.html beside it. The index is not offered as a Git repository.
package cargo

import (
	"net/http"
	"strings"
	"time"

	"granary/formats"
)

// Format is the Cargo format.
type Format struct {
	now func() time.Time
}

var (
	_ formats.Indexer      = (*Format)(nil)
	_ formats.Promiser     = (*Format)(nil)
	_ formats.Failer       = (*Format)(nil)
	_ formats.Speaker      = (*Format)(nil)
	_ formats.Answerer     = (*Format)(nil)
	_ formats.Caller       = (*Format)(nil)
	_ formats.Titler       = (*Format)(nil)
	_ formats.Challenger   = (*Format)(nil)
	_ formats.Credentialer = (*Format)(nil)
)

// New returns the format; now dates what is published.
func New(now func() time.Time) *Format { return &Format{now: now} }

// Name is "cargo".
func (*Format) Name() string { return "cargo" }

// Labels of operations.
const (
	labelConfig   = "config"
	labelIndex    = "index"
	labelDownload = "download"
	labelPublish  = "publish"
	labelYank     = "yank"
	labelUnyank   = "unyank"
	labelOwners   = "owners"
	labelAdd      = "add owners"
	labelRemove   = "remove owners"
	labelSearch   = "search"
	labelMe       = "me"
	labelGit      = "git index"
	labelVersion  = "version"
)

// Paths and media types.
const (
	cratesDir  = "crates"        // scopes of crates lie below it
	namesDir   = "names"         // scopes of what belongs to a crate as a whole
	nameRecord = ":crate"        // the one record there
	apiDir     = "api/v1/crates" // the web API
	indexDoc   = "index"         // the document of a crate
	configPath = "config.json"   // of the registry
	crateExt   = ".crate"
	typeIndex  = "text/plain; charset=utf-8"
	typeCrate  = "application/gzip"
	typeJSON   = "application/json"
)

// Route reads a path. The index is at the repository's root and below "index/".
func (*Format) Route(req formats.Req) (formats.Op, bool) {
	path := req.Path
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	if rest, ok := strings.CutPrefix(path, apiDir); ok {
		return routeAPI(req.Method, strings.TrimPrefix(rest, "/"))
	}
	if rest, ok := strings.CutPrefix(path, cratesDir+"/"); ok {
		return routeCrate(req.Method, rest)
	}
	if isGit(path) {
		return formats.Op{Kind: formats.Call, Label: labelGit, Verb: formats.VerbRead}, read || req.Method == http.MethodPost
	}
	if !read || req.Slash {
		return formats.Op{}, false
	}
	path = strings.TrimPrefix(path, indexDoc+"/")
	switch path {
	case configPath:
		return formats.Op{Kind: formats.Call, Label: labelConfig, Verb: formats.VerbRead}, true
	case "me":
		return formats.Op{Kind: formats.Call, Label: labelMe, Verb: formats.VerbRead}, true
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	if !validName(name) || path != indexPath(name) {
		return formats.Op{}, false
	}
	return formats.Op{Kind: formats.Doc, Label: labelIndex, Scope: scopeOf(name), Path: indexDoc}, true
}

// isGit tells whether a Git client asks, for the index as it used to be.
func isGit(path string) bool {
	for _, end := range [...]string{"info/refs", "git-upload-pack", "HEAD"} {
		rest, ok := strings.CutSuffix(path, end)
		switch {
		case !ok:
		case rest == "", rest == "git/", rest == indexDoc+"/", rest == "git/index/":
			return true
		}
	}
	return path == "git/index"
}

// routeAPI reads what lies below "api/v1/crates".
func routeAPI(method, path string) (formats.Op, bool) {
	if path == "" {
		return formats.Op{Kind: formats.Call, Label: labelSearch, Verb: formats.VerbRead}, method == http.MethodGet || method == http.MethodHead
	}
	if path == "new" {
		return formats.Op{Kind: formats.Write, Label: labelPublish}, method == http.MethodPut
	}
	name, rest, _ := strings.Cut(path, "/")
	if !validName(name) {
		return formats.Op{}, false
	}
	if rest == labelOwners {
		return routeOwners(method, name)
	}
	version, action, _ := strings.Cut(rest, "/")
	if !validVersion(version) {
		return formats.Op{}, false
	}
	op := formats.Op{Kind: formats.Write, Scope: scopeOf(name), Name: pointerName(version)}
	switch {
	case action == labelYank && method == http.MethodDelete:
		op.Label, op.Path = labelYank, version
		return op, true
	case action == labelUnyank && method == http.MethodPut:
		op.Label, op.Path = labelUnyank, version
		return op, true
	case action == labelDownload || action == "" && method == http.MethodDelete:
		return fileOp(method, name, version)
	}
	return formats.Op{}, false
}

func routeOwners(method, name string) (formats.Op, bool) {
	op := formats.Op{Scope: ownersScope(name), Name: nameRecord, Path: name}
	switch method {
	case http.MethodGet, http.MethodHead:
		op.Kind, op.Label, op.Verb = formats.Call, labelOwners, formats.VerbRead
	case http.MethodPut:
		op.Kind, op.Label = formats.Write, labelAdd
	case http.MethodDelete: // it has a body
		op.Kind, op.Label = formats.Write, labelRemove
	default:
		return formats.Op{}, false
	}
	return op, true
}

// routeCrate reads "serde/serde-1.0.0.crate": the names of the records.
func routeCrate(method, path string) (formats.Op, bool) {
	name, file, ok := strings.Cut(path, "/")
	version, hasName := strings.CutPrefix(file, name+"-")
	version, hasExt := strings.CutSuffix(version, crateExt)
	if !ok || !hasName || !hasExt || !validName(name) || name != strings.ToLower(name) || !validVersion(version) {
		return formats.Op{}, false
	}
	return fileOp(method, name, version)
}

func fileOp(method, name, version string) (formats.Op, bool) {
	op := formats.Op{Label: labelDownload, Scope: scopeOf(name), Name: fileName(name, version)}
	switch method {
	case http.MethodGet, http.MethodHead:
		op.Kind, op.Fixed, op.Type = formats.File, true, typeCrate
	case http.MethodDelete:
		op.Kind, op.Label = formats.Delete, labelVersion
	default:
		return formats.Op{}, false
	}
	return op, true
}

// Disposition names a crate as Cargo does in its cache.
func (*Format) Disposition(op formats.Op) (string, bool) {
	return op.Name, op.Label == labelDownload
}

// Credential is the Authorization header as it is: Cargo sends tokens without a
// scheme.
func (*Format) Credential(r *http.Request) (string, bool) {
	v := r.Header.Get("Authorization")
	return v, v != "" && !strings.ContainsAny(v, " \t")
}

// Challenge tells Cargo where people log in.
func (f *Format) Challenge(r *http.Request) string {
	site := formats.SiteOf(r.Context())
	if !f.Speaks(r) {
		op, ok := f.Route(formats.Req{Method: r.Method, Path: site.Path})
		if !ok || op.Kind == formats.Doc || op.Kind == formats.Call && op.Label == labelGit {
			return ""
		}
	}
	return `Cargo login_url="` + site.URL + `/me"`
}
