// Package docker is the registry protocol of container images and other OCI
// artifacts: the OCI Distribution Specification 1.1 and what Docker's clients
// add to it.
//
// Records keep the names that clients see. Below the name of an image
// ("team/app", "" for the repository itself) lie "blobs/sha256:…" and
// "manifests/sha256:…", whose bytes never change, and "tags/latest", which moves
// and has the manifest's bytes too: a pull by tag is one read. A manifest with
// a subject has a pointer ":sha256:…" in "referrers/<digest of the subject>".
//
// Requests are routed with and without "v2/" before the name. Where a registry
// is found and who may use it is not the format's business; see
// granary/httpapi/registry.
package docker

import (
	"net/http"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Format is the Docker and OCI image format.
type Format struct{}

var (
	_ formats.Parser   = Format{}
	_ formats.Answerer = Format{}
	_ formats.Caller   = Format{}
	_ formats.Verifier = Format{}
	_ formats.Asker    = Format{}
	_ formats.Pointer  = Format{}
	_ formats.Keeper   = Format{}
	_ formats.Lister   = Format{}
	_ formats.Mirror   = Format{}
)

// New returns the format.
func New() Format { return Format{} }

// Name is "docker".
func (Format) Name() string { return "docker" }

// Labels of operations.
const (
	labelManifest  = "manifest"
	labelBlob      = "blob"
	labelUpload    = "blob upload"
	labelTags      = "tags"
	labelReferrers = "referrers"
	labelCatalog   = "catalog"
	labelInvalid   = "invalid"
)

// What lies below an image's name.
const (
	blobs     = "blobs"
	manifests = "manifests"
	tags      = "tags"
	referrers = "referrers"
	uploads   = "uploads"
)

const typeBlob = "application/octet-stream"

// Route reads a path from its end, so that the segments of an image's name may
// be any words, also those of the protocol.
func (Format) Route(req formats.Req) (formats.Op, bool) {
	path := strings.TrimPrefix(req.Path, "v2/")
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	if path == "_catalog" {
		return formats.Op{Kind: formats.Call, Label: labelCatalog, Verb: formats.VerbRead}, read
	}
	t, ok := split(path)
	if !ok || !t.takes(req.Method) {
		return formats.Op{}, false
	}
	if err := t.check(read); err != nil {
		// Call tells what is wrong.
		return formats.Op{Kind: formats.Call, Label: labelInvalid, Path: path, Verb: verbOf(req.Method)}, true
	}
	return t.op(req.Method, read), true
}

func verbOf(method string) formats.Verb {
	switch method {
	case http.MethodGet, http.MethodHead:
		return formats.VerbRead
	case http.MethodDelete:
		return formats.VerbDelete
	}
	return formats.VerbWrite
}

// target is what a path names.
type target struct {
	name string // of the image, perhaps ""
	what string // labelBlob, …
	ref  string // digest, tag or id of an upload session; "" to begin one
}

// split finds the image's name and what of it is meant.
func split(path string) (target, bool) {
	rest, last := cutLast(path)
	name, kind := cutLast(rest)
	switch {
	case last == "":
	case kind == manifests:
		return target{name, labelManifest, last}, true
	case kind == referrers:
		return target{name, labelReferrers, last}, true
	case kind == tags && last == "list":
		return target{name, labelTags, ""}, true
	case kind == blobs && last == uploads:
		return target{name, labelUpload, ""}, true
	case kind == blobs:
		return target{name, labelBlob, last}, true
	case kind == uploads:
		if image, above := cutLast(name); above == blobs {
			return target{image, labelUpload, last}, true
		}
	}
	return target{}, false
}

// cutLast cuts the last segment off.
func cutLast(path string) (rest, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// takes tells the methods that a path has.
func (t target) takes(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead:
		return t.what != labelUpload || t.ref != ""
	case http.MethodPost:
		return t.what == labelUpload && t.ref == ""
	case http.MethodPatch:
		return t.what == labelUpload && t.ref != ""
	case http.MethodPut:
		return t.what == labelManifest || t.what == labelUpload && t.ref != ""
	case http.MethodDelete:
		return t.what == labelManifest || t.what == labelBlob || t.what == labelUpload && t.ref != ""
	}
	return false
}

// check judges name and reference. A tag that can't be is only not there for
// who reads it.
func (t target) check(read bool) error {
	if err := checkName(t.name); err != nil {
		return err
	}
	switch t.what {
	case labelManifest:
		if strings.Contains(t.ref, ":") {
			_, _, err := parseDigest(t.ref)
			return err
		}
		if !read {
			return checkTag(t.ref)
		}
	case labelBlob, labelReferrers:
		_, _, err := parseDigest(t.ref)
		return err
	}
	return nil
}

func (t target) op(method string, read bool) formats.Op {
	scope := func(kind string) string { return formats.Join(t.name, kind) }
	switch t.what {
	case labelTags:
		return formats.Op{Kind: formats.Call, Label: labelTags, Scope: scope(tags), Verb: formats.VerbRead}
	case labelReferrers:
		return formats.Op{Kind: formats.Call, Label: labelReferrers, Scope: scope(referrers) + "/" + t.ref, Name: t.ref, Verb: formats.VerbRead}
	case labelUpload:
		return formats.Op{Kind: formats.Call, Label: labelUpload, Scope: scope(blobs), Name: t.ref, Verb: formats.VerbWrite}
	}
	op := formats.Op{Kind: formats.File, Label: t.what, Name: t.ref}
	if !read {
		op.Kind = formats.Write
	}
	if method == http.MethodDelete {
		op.Kind = formats.Delete
	}
	switch _, sums, err := parseDigest(t.ref); {
	case t.what == labelBlob:
		return blobOp(op, t.name, sums)
	case err != nil:
		op.Scope, op.Path = scope(tags), "v2/"+scope(manifests)+"/"+t.ref
	default:
		op.Scope, op.Path, op.Sum, op.Fixed = scope(manifests), "v2/"+scope(manifests)+"/"+t.ref, sums, true
	}
	return op
}

// blobOp completes an operation on a blob.
func blobOp(op formats.Op, name string, sums digest.Sums) formats.Op {
	op.Scope, op.Type, op.Sum, op.Fixed = formats.Join(name, blobs), typeBlob, sums, true
	op.Path = "v2/" + op.Scope + "/" + op.Name
	return op
}

// imageOf returns the image's name of a scope of a kind, such as "tags".
func imageOf(scope, kind string) (string, bool) {
	name, last := cutLast(scope)
	return name, last == kind
}

// referrersOf returns the image's name of a scope of referrers. An image may be
// called "referrers", but none of its scopes ends in a digest.
func referrersOf(scope string) (string, bool) {
	rest, subject := cutLast(scope)
	image, ok := imageOf(rest, referrers)
	return image, ok && strings.Contains(subject, ":")
}
