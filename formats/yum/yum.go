// Package yum is the RPM repository format: what a baseurl of dnf, yum or
// zypper points at.
//
// A directory with repodata/ in it is a root. Packages lie where they were
// uploaded to; the settings say how many of the directories above a package
// make its root. For each package there is a pointer in the scope
// "<root>/repodata", called "packages/<name>/:<epoch>:<version>-<release>.<arch>",
// that holds its parts of the metadata. All metadata of a root is one
// publication of that scope.
package yum

import (
	"net/http"
	"path"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Format is the RPM repository format.
type Format struct {
	now func() time.Time
}

var (
	_ formats.Indexer           = (*Format)(nil)
	_ formats.Signs             = (*Format)(nil)
	_ formats.Verbatim          = (*Format)(nil)
	_ formats.Verifier          = (*Format)(nil)
	_ formats.Answerer          = (*Format)(nil)
	_ formats.ComponentUploader = (*Format)(nil)
	_ formats.Caller            = (*Format)(nil)
	_ formats.Companion         = (*Format)(nil)
	_ formats.Mirrored          = (*Format)(nil)
	_ formats.Substituter       = (*Format)(nil)
)

// New returns the format; now dates metadata.
func New(now func() time.Time) *Format { return &Format{now: now} }

// Name is "yum".
func (*Format) Name() string { return "yum" }

// Signs says that repomd.xml is signed.
func (*Format) Signs() {}

// Labels of operations.
const (
	labelMetadata = "metadata"
	labelEntry    = "repomd"
	labelKey      = "key"
	labelPackage  = "package"
	labelFile     = "file"
	labelUpload   = "upload"
	labelRepoFile = "repo file"
	labelMirrors  = "mirrorlist"
	labelExtra    = "extra metadata"
	labelSnapshot = "snapshot"
	labelDrop     = "drop snapshot"
)

// Scopes and documents.
const (
	repodata = "repodata"
	keys     = ":keys" // has no records: what depends on the signing keys alone

	repomd    = "repomd.xml"
	repomdSig = repomd + ".asc"
	repomdKey = repomd + ".key"
)

// Media types.
const (
	typeXML       = "application/xml"
	typeRPM       = "application/x-rpm"
	typeKey       = "application/pgp-keys"
	typeSignature = "application/pgp-signature"
	typeOctets    = "application/octet-stream"
)

// Route reads a path.
func (*Format) Route(req formats.Req) (formats.Op, bool) {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return routeRead(req)
	case http.MethodPut, http.MethodPost:
		return routeWrite(req)
	case http.MethodDelete:
		return routeDelete(req.Path)
	}
	return formats.Op{}, false
}

func routeRead(req formats.Req) (formats.Op, bool) {
	if req.Slash {
		return formats.Op{}, false
	}
	if req.Path == repomdKey {
		return formats.Op{Kind: formats.Doc, Label: labelKey, Scope: keys, Path: repomdKey, Missing: true}, true
	}
	if sum, p, ok := cutGeneration(req.Path); ok {
		return routeGeneration(sum, p)
	}
	if dir, name := dirOf(req.Path), path.Base(req.Path); path.Base(dir) == repodata {
		if name == mirrorList {
			return formats.Op{Kind: formats.Call, Label: labelMirrors, Scope: dir, Verb: formats.VerbRead}, true
		}
		return document(dir, name)
	}
	if op, ok := routeRepoFile(req.Path); ok {
		return op, true
	}
	return routeFile(formats.File, req.Path)
}

// document is one of a root's, whose name may begin with its digest.
func document(scope, name string) (formats.Op, bool) {
	op := formats.Op{Kind: formats.Doc, Label: labelMetadata, Scope: scope, Path: name}
	switch name {
	case repomd, repomdSig, repomdKey:
		op.Label = labelEntry
		return op, true
	}
	sum, _, _ := strings.Cut(name, "-")
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512, digest.SHA1} {
		if b, err := digest.ParseHex(a, sum); err == nil {
			op.Sum.Set(a, b)
			op.Fixed = true
		}
	}
	return op, true
}

// routeFile is a package, or another file of an upstream's tree: images,
// .treeinfo, licences.
func routeFile(kind formats.Kind, p string) (formats.Op, bool) {
	name := path.Base(p)
	if p == "" || strings.HasPrefix(name, ":") || inRepodata(p) {
		return formats.Op{}, false
	}
	op := formats.Op{Kind: kind, Label: labelFile, Scope: dirOf(p), Name: name, Type: typeOctets}
	if isPackage(name) {
		op.Label, op.Fixed, op.Type = labelPackage, true, typeRPM
	}
	if kind != formats.File && !isPackage(name) {
		return formats.Op{}, false
	}
	return op, true
}

func isPackage(name string) bool { return strings.HasSuffix(name, ".rpm") && name != ".rpm" }

// inRepodata tells whether a directory of the path is one of metadata.
func inRepodata(p string) bool {
	return strings.HasPrefix(p, repodata+"/") || strings.Contains(p, "/"+repodata+"/")
}

// routeWrite takes the upload forms of the servers that people come from:
// "upload" or the root with a form, and a PUT of a package where it is to lie.
func routeWrite(req formats.Req) (formats.Op, bool) {
	op := formats.Op{Kind: formats.Write, Label: labelUpload}
	if _, _, ok := cutGeneration(req.Path); ok {
		return formats.Op{}, false
	}
	switch {
	case req.Method == http.MethodPost && req.Path == snapshots:
		op.Label = labelSnapshot
		return op, true
	case req.Method == http.MethodPost:
		return op, req.Path == "" || req.Path == "upload"
	case req.Slash:
		return formats.Op{}, false
	}
	if op, ok := routeExtra(formats.Write, req.Path); ok {
		return op, true
	}
	return routeFile(formats.Write, req.Path)
}

// routeExtra is comps.xml and its like, in a root or in its repodata/.
func routeExtra(kind formats.Kind, p string) (formats.Op, bool) {
	name, root := path.Base(p), dirOf(p)
	if path.Base(root) == repodata {
		root = dirOf(root)
	}
	if extraOf(name) == nil || inRepodata(root+"/") {
		return formats.Op{}, false
	}
	return formats.Op{Kind: kind, Label: labelExtra, Scope: scopeOf(root), Name: name}, true
}

// routeDelete takes a package, which leaves the metadata too, what was uploaded
// as metadata, or a snapshot, whose packages stay.
func routeDelete(p string) (formats.Op, bool) {
	if _, _, ok := cutGeneration(p); ok {
		return formats.Op{}, false
	}
	if op, ok := routeExtra(formats.Delete, p); ok {
		return op, true
	}
	if dir, name := dirOf(p), path.Base(p); dir == snapshots && snapshotName.MatchString(name) && !isPackage(name) {
		return formats.Op{Kind: formats.Delete, Label: labelDrop, Scope: snapshots, Name: ":" + name}, true
	}
	return routeFile(formats.Delete, p)
}
