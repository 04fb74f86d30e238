// Package npm is the registry of JavaScript packages: what npm, pnpm, yarn and
// bun install from and publish to.
//
// A version is the record of its tarball, <package>/-/<name>-<version>.tgz, whose
// Meta is the version's manifest. So two publishes never write one record, and a
// version is there exactly when its tarball is. Tags and deprecations are
// pointers beside it. See
// https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md.
package npm

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"granary/formats"
)

// Format is the npm format.
type Format struct{}

var (
	_ formats.Indexer     = (*Format)(nil)
	_ formats.Promiser    = (*Format)(nil)
	_ formats.Accepter    = (*Format)(nil)
	_ formats.Failer      = (*Format)(nil)
	_ formats.Speaker     = (*Format)(nil)
	_ formats.Answerer    = (*Format)(nil)
	_ formats.Caller      = (*Format)(nil)
	_ formats.Substituter = (*Format)(nil)

	_ formats.ComponentUploader = (*Format)(nil)
)

// New returns the format.
func New() *Format { return &Format{} }

// Name is "npm".
func (*Format) Name() string { return "npm" }

// Labels of operations.
const (
	labelPackument    = "packument"
	labelManifest     = "manifest"
	labelTarball      = "tarball"
	labelPublish      = "publish"
	labelUnpublish    = "unpublish"
	labelPackage      = "package"
	labelTags         = "tags"
	labelTag          = "tag"
	labelSearch       = "search"
	labelPing         = "ping"
	labelWhoami       = "whoami"
	labelUser         = "user"
	labelLogin        = "login"
	labelLogout       = "logout"
	labelTokens       = "tokens"
	labelAudit        = "audit"
	labelKeys         = "keys"
	labelNoKeys       = "no keys"
	labelAttestations = "attestations"
	labelComponent    = "component"
	labelBadName      = "bad name"
	labelNone         = "none"
)

// Media types.
const (
	typeJSON    = "application/json"
	typeInstall = "application/vnd.npm.install-v1+json"
	typeTarball = "application/octet-stream"
)

// Documents of a publication.
const (
	docFull    = "packument.json"
	docInstall = "install.json"
)

// Route reads a path. The core has decoded it: @scope%2fname is @scope/name.
func (*Format) Route(req formats.Req) (formats.Op, bool) {
	if rest, ok := strings.CutPrefix(req.Path, "-/"); ok {
		return routeCall(req, rest)
	}
	name, rest, ok := splitName(req.Path)
	if !ok {
		return routeBadName(req, rest)
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return routeRead(req, name, rest)
	case http.MethodPut:
		return routePut(name, rest)
	case http.MethodDelete:
		return routeDelete(name, rest)
	}
	return formats.Op{}, false
}

// splitName cuts the name of a package, which has a slash if it is scoped, off
// a path.
func splitName(p string) (name, rest string, ok bool) {
	name, rest, _ = strings.Cut(p, "/")
	if strings.HasPrefix(name, "@") {
		var base string
		base, rest, _ = strings.Cut(rest, "/")
		name += "/" + base
	}
	return name, rest, goodName(name)
}

// routeBadName takes a publish of what no package can be called, to say so.
func routeBadName(req formats.Req, rest string) (formats.Op, bool) {
	return formats.Op{Kind: formats.Write, Label: labelBadName, Path: req.Path}, req.Method == http.MethodPut && req.Path != "" && rest == "" && !req.Slash
}

func routeRead(req formats.Req, name, rest string) (formats.Op, bool) {
	if rest == "" {
		op := formats.Op{Kind: formats.Doc, Label: labelPackument, Scope: name, Path: docFull}
		if wantsInstall(req) {
			op.Path = docInstall
		}
		return op, true
	}
	if file, ok := strings.CutPrefix(rest, "-/"); ok {
		return routeTarball(formats.File, name, file)
	}
	if strings.Contains(rest, "/") || !goodVersion(plain(rest)) && !goodTag(rest) {
		return formats.Op{}, false
	}
	return formats.Op{Kind: formats.Call, Label: labelManifest, Scope: name, Name: rest, Verb: formats.VerbRead}, true
}

// wantsInstall tells who asks for the short form, as installers do, from who
// wants all.
func wantsInstall(req formats.Req) bool {
	if req.Query.Get("write") == "true" {
		return false
	}
	for _, v := range req.Header["Accept"] {
		if strings.Contains(v, typeInstall) {
			return true
		}
	}
	return false
}

// routeTarball takes the name of the file as it is, and with the scope before
// it, as some registries write it.
func routeTarball(kind formats.Kind, name, file string) (formats.Op, bool) {
	if scope, _, scoped := strings.Cut(name, "/"); scoped {
		file = strings.TrimPrefix(file, scope+"/")
	}
	record := tarballDir + file
	_, ok := versionOf(name, record)
	return formats.Op{Kind: kind, Label: labelTarball, Scope: name, Name: record, Fixed: true, Type: typeTarball}, ok
}

// routePut takes a publish or deprecation, and the first step of an unpublish.
func routePut(name, rest string) (formats.Op, bool) {
	if rest == "" {
		return formats.Op{Kind: formats.Write, Label: labelPublish, Scope: name}, true
	}
	rev, ok := strings.CutPrefix(rest, "-rev/")
	// It takes versions away.
	return formats.Op{Kind: formats.Write, Label: labelUnpublish, Scope: name, Name: rev, Verb: formats.VerbDelete}, ok && rev != ""
}

// routeDelete takes a package with its revision, and a tarball with or without.
func routeDelete(name, rest string) (formats.Op, bool) {
	if rev, ok := strings.CutPrefix(rest, "-rev/"); ok {
		return formats.Op{Kind: formats.Delete, Label: labelPackage, Scope: name}, rev != ""
	}
	file, ok := strings.CutPrefix(rest, "-/")
	if !ok {
		return formats.Op{}, false
	}
	file, _, _ = strings.Cut(file, "/-rev/")
	return routeTarball(formats.Delete, name, file)
}

// Fail tells what is wrong the way that npm shows it. A version that is there
// is 403, which npm takes for final; a revision that is old is 409.
func (*Format) Fail(w http.ResponseWriter, _ *http.Request, status int, message string) bool {
	switch status {
	case http.StatusConflict:
		status, message = http.StatusForbidden, "You cannot publish over the previously published versions: "+message
	case http.StatusPreconditionFailed:
		status = http.StatusConflict
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	body, err := json.Marshal(map[string]string{"error": message})
	if err != nil {
		return true
	}
	w.Write(body) //nolint:errcheck // the client went away: the status has been sent
	return true
}

// Speaks knows clients by the name that they give themselves.
func (*Format) Speaks(r *http.Request) bool {
	name, _, _ := strings.Cut(r.UserAgent(), "/")
	switch name {
	case "npm", "pnpm", "yarn", "Bun":
		return true
	}
	return false
}

// Answer tells that a write is done.
func (*Format) Answer(w http.ResponseWriter, _ *http.Request, op formats.Op, _ []formats.Record) bool {
	if op.Label == labelComponent {
		return false
	}
	w.Header().Set("Content-Type", typeJSON)
	status := http.StatusOK
	if op.Label == labelTag {
		status = http.StatusCreated
	}
	w.WriteHeader(status)
	io.WriteString(w, `{"ok":true,"success":true}`) //nolint:errcheck // as above
	return true
}

// Accept publishes a version, changes tags or deprecations, or removes what is
// published.
func (*Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch {
	case op.Kind == formats.Delete && op.Label == labelTag:
		return removeTag(ctx, op, tx)
	case op.Kind == formats.Delete:
		return remove(ctx, op, tx)
	case op.Label == labelTag:
		return putTag(ctx, op, up, tx)
	case op.Label == labelUnpublish:
		return unpublish(ctx, op, up, tx)
	case op.Label == labelComponent:
		return component(ctx, up, tx)
	case op.Label == labelBadName:
		return bad("%q is no name of a package", op.Path)
	}
	s, err := readSubmission(ctx, up, tx)
	switch {
	case err != nil:
		return err
	case s.tarball == nil:
		return s.deprecate(ctx, op.Scope, tx)
	}
	return s.publish(ctx, op.Scope, tx)
}
