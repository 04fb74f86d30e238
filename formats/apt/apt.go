// Package apt is the Debian repository format: what a line of sources.list
// points at (https://wiki.debian.org/DebianRepository/Format).
//
// A package lies once in pool/, and for each distribution that lists it there
// is a pointer in the scope "dists/<distribution>", called
// "<component>/<architecture>/<package>/:<version>", that holds its stanza. All
// indexes of a distribution are one publication of that scope.
package apt

import (
	"net/http"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Format is the APT format.
type Format struct {
	now func() time.Time
}

var (
	_ formats.Indexer  = (*Format)(nil)
	_ formats.Signs    = (*Format)(nil)
	_ formats.Verbatim = (*Format)(nil)
	_ formats.Answerer = (*Format)(nil)
)

// New returns the format; now dates Release files.
func New(now func() time.Time) *Format { return &Format{now: now} }

// Name is "apt".
func (*Format) Name() string { return "apt" }

// Signs says that Release files are signed.
func (*Format) Signs() {}

// Labels of operations.
const (
	labelRelease  = "release"
	labelIndex    = "index"
	labelPackage  = "package"
	labelKey      = "key"
	labelList     = "distributions"
	labelUpload   = "upload"
	labelNexus    = "component"
	labelSnapshot = "snapshot"
	labelDrop     = "drop distribution"
	labelFields   = "distribution"
	labelUnlist   = "listed package"
)

// Scopes and documents.
const (
	dists     = "dists" // its pointers are the distributions
	keys      = ":keys" // has no records: what depends on the signing keys alone
	listDoc   = "distributions"
	keyDoc    = "public.key"
	keyBinary = "public.gpg"
	setupDoc  = "setup.sh"

	inRelease  = "InRelease"
	release    = "Release"
	releaseGPG = "Release.gpg"
)

// Media types.
const (
	typeText      = "text/plain; charset=utf-8"
	typeDeb       = "application/vnd.debian.binary-package"
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
		return routeDelete(req)
	}
	return formats.Op{}, false
}

func routeRead(req formats.Req) (formats.Op, bool) {
	if req.Slash {
		return formats.Op{}, false
	}
	switch req.Path {
	case keyDoc, keyBinary, setupDoc:
		return formats.Op{Kind: formats.Doc, Label: labelKey, Scope: keys, Path: req.Path, Missing: true}, true
	case listDoc:
		return formats.Op{Kind: formats.Doc, Label: labelList, Scope: dists, Path: listDoc, Missing: true}, true
	}
	top, rest, _ := strings.Cut(req.Path, "/")
	switch {
	case top == dists && rest != "":
		return routeIndex(rest)
	}
	if op, ok := routeFlat(req.Path); ok {
		return op, true
	}
	return routeFile(formats.File, req.Path)
}

// routeFlat reads the indexes of a repository without dists/, which only a
// cache can have.
func routeFlat(path string) (formats.Op, bool) {
	dir, doc := "", path
	for _, inner := range []string{"/by-hash/", "/"} {
		if at := strings.LastIndex("/"+path, inner); at >= 0 {
			dir, doc = ("/" + path)[:at], ("/" + path)[at+1:]
			break
		}
	}
	name, _, _ := strings.Cut(doc, ".")
	switch name {
	case inRelease, release, "Packages", "Sources", "by-hash":
	default:
		if !strings.HasPrefix(doc, "by-hash/") {
			return formats.Op{}, false
		}
	}
	return document(flat+dir, doc)
}

// routeFile is a file anywhere but below dists/: pool/, or wherever an
// upstream has it.
func routeFile(kind formats.Kind, path string) (formats.Op, bool) {
	at := strings.LastIndexByte(path, '/')
	if at < 0 || at == len(path)-1 {
		return formats.Op{}, false
	}
	op := formats.Op{Kind: kind, Label: labelPackage, Scope: path[:at], Name: path[at+1:], Fixed: true, Type: typeOctets}
	if strings.HasPrefix(op.Name, ":") {
		return formats.Op{}, false
	}
	if strings.HasSuffix(op.Name, ".deb") || strings.HasSuffix(op.Name, ".udeb") {
		op.Type = typeDeb
	}
	return op, true
}

// routeIndex reads what lies below dists/: the distribution, which the one
// legacy form "<distribution>/updates" makes two segments of, then the document.
func routeIndex(path string) (formats.Op, bool) {
	dist, doc, ok := strings.Cut(path, "/")
	if after, legacy := strings.CutPrefix(doc, "updates/"); legacy && !inComponent(after) {
		dist, doc = dist+"/updates", after
	}
	if !ok || doc == "" || checkDistribution(strings.TrimSuffix(dist, "/updates")) != nil {
		return formats.Op{}, false
	}
	return document(dists+"/"+dist, doc)
}

// inComponent tells whether what lies in a directory is what components have: then
// that is one.
func inComponent(doc string) bool {
	top, _, _ := strings.Cut(doc, "/")
	switch top {
	case archSource, "by-hash", "i18n", "dep11", "cnf", "debian-installer":
		return true
	}
	return strings.HasPrefix(top, "binary-") || strings.HasPrefix(top, "Contents-")
}

// document is one of a scope, whose path may name it by digest.
func document(scope, doc string) (formats.Op, bool) {
	op := formats.Op{Kind: formats.Doc, Label: labelIndex, Scope: scope, Path: doc}
	switch doc {
	case inRelease, release, releaseGPG:
		op.Label = labelRelease
		return op, true
	}
	// …/by-hash/SHA256/<hex>
	parts := strings.Split(doc, "/")
	if n := len(parts); n >= 3 && parts[n-3] == "by-hash" {
		a, ok := byHash[parts[n-2]]
		if !ok {
			return formats.Op{}, false
		}
		sum, err := digest.ParseHex(a, parts[n-1])
		if err != nil {
			return formats.Op{}, false
		}
		op.Sum.Set(a, sum)
		op.Fixed = true
	}
	return op, true
}

// byHash are the digests by the names of their directories and of the lists in
// Release files.
var byHash = map[string]digest.Algorithm{"SHA256": digest.SHA256, "SHA512": digest.SHA512, "MD5Sum": digest.MD5}

// routeWrite takes the upload forms of the servers that people come from:
// "upload" (a form), the root (a form or a bare package), a PUT of
// "pool/<distribution>/<component>/upload", and a PUT of a path with
// properties behind semicolons. A PUT of "dists/<distribution>" sets its fields.
func routeWrite(req formats.Req) (formats.Op, bool) {
	op := formats.Op{Kind: formats.Write, Label: labelUpload}
	path, properties, _ := strings.Cut(req.Path, ";")
	switch {
	case req.Method == http.MethodPost && (path == "" || path == "upload"):
		return op, true
	case req.Method == http.MethodPost && path == "snapshots":
		op.Label = labelSnapshot
		return op, true
	case req.Method == http.MethodPost:
		return formats.Op{}, false
	}
	if dist, ok := strings.CutPrefix(req.Path, dists+"/"); ok && !req.Slash && checkDistribution(dist) == nil {
		op.Label, op.Scope, op.Name = labelFields, req.Path, fieldsMark
		return op, true
	}
	parts := strings.Split(path, "/")
	if len(parts) == 4 && parts[0] == "pool" && parts[3] == "upload" {
		op.Name = "distribution=" + parts[1] + ";component=" + parts[2]
		return op, true
	}
	if strings.HasSuffix(path, ".deb") || strings.HasSuffix(path, ".udeb") {
		op.Name = properties
		return op, true
	}
	return formats.Op{}, false
}

// routeDelete takes a package in the pool, which leaves every distribution; a
// package as one distribution lists it, which stays in the pool,
// "pool/<distribution>/<component>/<package>/<version>/<architecture>"; or a
// whole distribution, whose packages stay in the pool.
func routeDelete(req formats.Req) (formats.Op, bool) {
	if req.Slash {
		return formats.Op{}, false
	}
	top, rest, _ := strings.Cut(req.Path, "/")
	if top == dists {
		if checkDistribution(rest) != nil {
			return formats.Op{}, false
		}
		return formats.Op{Kind: formats.Delete, Label: labelDrop, Scope: dists, Name: ":" + rest}, true
	}
	if op, ok := routeUnlist(rest); ok && top == "pool" {
		return op, true
	}
	return routeFile(formats.Delete, req.Path)
}

// routeUnlist reads what follows "pool/". No file of a pool is that deep, and
// none is called like an architecture.
func routeUnlist(path string) (formats.Op, bool) {
	p := strings.Split(path, "/")
	if len(p) != 5 || checkDistribution(p[0]) != nil || checkComponent(p[1]) != nil || !packageName.MatchString(p[2]) || !versionText.MatchString(p[3]) || !architecture.MatchString(p[4]) {
		return formats.Op{}, false
	}
	name := pooled{Component: p[1], Package: p[2], Version: p[3], Arch: p[4]}.name()
	return formats.Op{Kind: formats.Delete, Label: labelUnlist, Scope: dists + "/" + p[0], Name: name}, true
}
