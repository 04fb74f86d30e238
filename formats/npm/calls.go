package npm

import (
	"net/http"
	"strings"

	"granary/formats"
)

// routeCall reads what follows "-/".
func routeCall(req formats.Req, rest string) (formats.Op, bool) {
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	call := func(label, name string) formats.Op {
		return formats.Op{Kind: formats.Call, Label: label, Name: name, Verb: formats.VerbRead}
	}
	switch {
	case rest == "ping" && read:
		return call(labelPing, ""), true
	case rest == "whoami" && read:
		return call(labelWhoami, ""), true
	case rest == "npm/v1/user" && read:
		return call(labelUser, ""), true
	case rest == "v1/search" && read:
		return call(labelSearch, ""), true
	case rest == "v1/login" && req.Method == http.MethodPost:
		// npm goes on with a name and a password.
		return call(labelNone, ""), true
	case strings.HasPrefix(rest, "user/org.couchdb.user:") && req.Method == http.MethodPut:
		op := call(labelLogin, strings.TrimPrefix(rest, "user/org.couchdb.user:"))
		op.Verb = formats.VerbNone
		return op, true
	case strings.HasPrefix(rest, "user/token/") && req.Method == http.MethodDelete:
		return call(labelLogout, strings.TrimPrefix(rest, "user/token/")), true
	case rest == "npm/v1/tokens" && (read || req.Method == http.MethodPost):
		return call(labelTokens, ""), true
	case strings.HasPrefix(rest, "npm/v1/tokens/token/") && req.Method == http.MethodDelete:
		return call(labelTokens, strings.TrimPrefix(rest, "npm/v1/tokens/token/")), true
	case strings.HasPrefix(rest, "npm/v1/security/") && req.Method == http.MethodPost:
		return call(labelAudit, rest), auditPath(rest)
	case rest == "npm/v1/keys" && read:
		return formats.Op{Kind: formats.File, Label: labelKeys, Scope: "-/npm/v1", Name: "keys", Type: typeJSON}, true
	case strings.HasPrefix(rest, "npm/v1/attestations/") && read:
		name := strings.TrimPrefix(rest, "npm/v1/attestations/")
		i := strings.LastIndexByte(name, '@')
		ok := i > 0 && goodName(name[:i]) && goodVersion(name[i+1:])
		return formats.Op{Kind: formats.File, Label: labelAttestations, Scope: "-/npm/v1/attestations", Name: name, Type: typeJSON}, ok
	case strings.HasPrefix(rest, "package/"):
		return routeTags(req.Method, strings.TrimPrefix(rest, "package/"))
	}
	return formats.Op{}, false
}

func auditPath(rest string) bool {
	return rest == "npm/v1/security/advisories/bulk" || rest == "npm/v1/security/audits" || rest == "npm/v1/security/audits/quick"
}

// routeTags reads "<package>/dist-tags/<tag>".
func routeTags(method, rest string) (formats.Op, bool) {
	name, tail, ok := splitName(rest)
	if !ok {
		return formats.Op{}, false
	}
	tag, one := strings.CutPrefix(tail, "dist-tags/")
	switch {
	case tail == "dist-tags" && (method == http.MethodGet || method == http.MethodHead):
		return formats.Op{Kind: formats.Call, Label: labelTags, Scope: name, Verb: formats.VerbRead}, true
	case one && method == http.MethodPut, one && method == http.MethodPost:
		return formats.Op{Kind: formats.Write, Label: labelTag, Scope: name, Name: tag}, goodTag(tag)
	case one && method == http.MethodDelete:
		return formats.Op{Kind: formats.Delete, Label: labelTag, Scope: name, Name: tag}, goodTag(tag)
	}
	return formats.Op{}, false
}

// Substitute answers for the signing keys of a registry that has none.
func (*Format) Substitute(op formats.Op) (formats.Op, bool) {
	return formats.Op{Kind: formats.Call, Label: labelNoKeys, Verb: formats.VerbRead}, op.Label == labelKeys
}
