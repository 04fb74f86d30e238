package npm

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"golang.org/x/mod/semver"

	"granary/formats"
)

// maxName is the length of a package's name in bytes.
const maxName = 214

var (
	// nameForm is what names were at any time: capitals are of long ago.
	nameForm = regexp.MustCompile(`^(?:@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~!()*'-]*$`)
	// newForm is what a package that is published now may be called.
	newForm = regexp.MustCompile(`^(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$`)
	tagForm = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~+-]*$`)
)

// bad returns an ErrBadPackage with a sentence for the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// goodName tells whether a package can be called so. "-" begins the paths of
// the registry's own calls.
func goodName(name string) bool {
	return len(name) <= maxName && name != "-" && !strings.HasPrefix(name, "-/") && nameForm.MatchString(name)
}

// newName tells what a package can be called that is published now: what npm
// itself takes, https://github.com/npm/validate-npm-package-name.
func newName(name string) bool {
	return goodName(name) && newForm.MatchString(name) && name != "node_modules" && name != "favicon.ico"
}

// goodVersion tells what is a semantic version, written in full.
func goodVersion(version string) bool {
	v := "v" + version
	return len(version) <= 128 && semver.IsValid(v) && semver.Canonical(v)+semver.Build(v) == v
}

// plain drops build metadata, which npm does not keep.
func plain(version string) string {
	version, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(version), "v"), "+")
	return version
}

func compareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }

func prerelease(version string) bool { return semver.Prerelease("v"+version) != "" }

// goodTag tells whether a tag can be called so: it is no version.
func goodTag(tag string) bool {
	return len(tag) <= 128 && tagForm.MatchString(tag) && !goodVersion(plain(tag))
}

// Names of records within the scope of a package.
const (
	tarballDir    = "-/"
	tagDir        = "tag/:"
	deprecatedDir = "deprecated/:"
	tarballEnd    = ".tgz"
)

// listScope has a pointer for each package, "<name>" with a colon before its
// last segment.
const listScope = "-/packages"

// tarballName is the name of a version's tarball: where clients fetch it.
func tarballName(pkg, version string) string {
	return tarballDir + path.Base(pkg) + "-" + version + tarballEnd
}

// versionOf reads the version in the name of a tarball.
func versionOf(pkg, record string) (string, bool) {
	rest, ok := strings.CutPrefix(record, tarballDir+path.Base(pkg)+"-")
	if !ok {
		return "", false
	}
	version, ok := strings.CutSuffix(rest, tarballEnd)
	return version, ok && goodVersion(version)
}

func listPointer(pkg string) string {
	dir, base := path.Split(pkg)
	return dir + ":" + base
}

func listed(pointer string) string {
	dir, base := path.Split(pointer)
	return dir + strings.TrimPrefix(base, ":")
}

func tagRecord(tag string) string { return tagDir + url.PathEscape(tag) }

// tagOf reads the tag in the name of its record.
func tagOf(record string) (string, bool) {
	escaped, ok := strings.CutPrefix(record, tagDir)
	if !ok {
		return "", false
	}
	tag, err := url.PathUnescape(escaped)
	return tag, err == nil
}
