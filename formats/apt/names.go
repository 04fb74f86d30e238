package apt

import (
	"regexp"
	"strings"

	"granary/formats"
)

// The grammars of Debian Policy §5.6, and of what stands in paths.
var (
	packageName  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
	versionText  = regexp.MustCompile(`^(?:[0-9]{1,9}:)?[A-Za-z0-9][A-Za-z0-9.+~:-]{0,199}$`)
	architecture = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	segment      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~_-]{0,99}$`)
)

// Names of sections that are no architecture of binary packages.
const (
	archAll    = "all"
	archSource = "source"
)

func checkDistribution(s string) error {
	if !segment.MatchString(s) || s == archSource {
		return formats.BadRequest("%.100q is no name of a distribution", s)
	}
	return nil
}

func checkComponent(s string) error {
	if !segment.MatchString(s) || strings.HasPrefix(s, "binary-") || s == "by-hash" || s == archSource {
		return formats.BadRequest("%.100q is no name of a component", s)
	}
	return nil
}

// identify reads and checks the coordinates of a package.
func identify(p paragraph) (name, version, arch string, err error) {
	name, version, arch = p.get("Package"), p.get("Version"), p.get("Architecture")
	switch {
	case !packageName.MatchString(name):
		return "", "", "", badPackage("Package is %.150q, which is no name of a package", name)
	case !versionText.MatchString(version):
		return "", "", "", badPackage("Version is %.250q, which is no version", version)
	case !architecture.MatchString(arch) || arch == archSource || arch == "any":
		return "", "", "", badPackage("Architecture is %.80q, which no binary package can have", arch)
	}
	return name, version, arch, nil
}

// withoutEpoch is the version as file names have it.
func withoutEpoch(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		return rest
	}
	return version
}

// poolDir is the directory of a source package's files: pool/main/h/hello, or
// pool/main/libf/libfoo.
func poolDir(component, source string) string {
	prefix := source[:1]
	if strings.HasPrefix(source, "lib") && len(source) > 3 {
		prefix = source[:4]
	}
	return "pool/" + component + "/" + prefix + "/" + source
}

// sourceOf is the source package that a binary package was built from; the
// field may carry a version in parentheses.
func sourceOf(p paragraph, name string) (string, error) {
	source, _, _ := strings.Cut(p.get("Source"), " ")
	if source == "" {
		return name, nil
	}
	if !packageName.MatchString(source) {
		return "", badPackage("Source is %.150q, which is no name of a package", source)
	}
	return source, nil
}
