package helm

import (
	"strings"

	"golang.org/x/mod/semver"
)

// Limits of a name and a version in bytes. Together with the extensions they
// fit into one segment of a path.
const (
	maxName    = 120
	maxVersion = 120
)

// validName tells whether a chart can have the name: ASCII letters, digits,
// ".", "_" and "-", a letter or digit first.
func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// validVersion tells whether Helm takes a version: a semantic one, with "v"
// before it or not, and numbers left out at the end or not.
func validVersion(v string) bool {
	return len(v) <= maxVersion && semver.IsValid(comparable(v))
}

// comparable is the version as package semver writes it. That package knows
// pre-releases of full versions only, as Helm does.
func comparable(v string) string { return "v" + strings.TrimPrefix(v, "v") }

// compare orders versions, those that differ in build metadata by its text.
func compare(a, b string) int {
	if c := semver.Compare(comparable(a), comparable(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func fileName(name, version string) string { return name + "-" + version + chartExt }

// validFile tells whether a packaged chart can have the name: that of a chart,
// and a version with what else versions have.
func validFile(name string) bool {
	base, ok := strings.CutSuffix(name, chartExt)
	return ok && base != "" && len(base) <= maxName+1+maxVersion && validName(strings.ReplaceAll(base, "+", "-")[:min(len(base), maxName)]) &&
		!strings.ContainsFunc(base, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/\\\"'<>", r) })
}
