package cargo

import (
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"granary/formats"
)

// Limits of a name and a version in bytes; those of the public registry.
const (
	maxName    = 64
	maxVersion = 128
)

// validName tells whether a name is one that a crate can have: ASCII letters,
// digits, "-" and "_", a letter or "_" first.
func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// devices are names that no file on Windows can have; an index that has them
// can't be unpacked there.
var devices = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true,
	"com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// checkName is validName for what is published.
func checkName(name string) error {
	switch {
	case !validName(name):
		return formats.BadRequest("%q is no name for a crate: ASCII letters, digits, - and _, a letter first, at most %d", name, maxName)
	case devices[strings.ToLower(name)]:
		return formats.BadRequest("a crate can't have the name %q: it is reserved on Windows", name)
	}
	return nil
}

// canonical is what all spellings of one name have in common.
func canonical(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// indexPath is where the index has a crate, prefix what comes before the name
// there; its case is that of the name.
func indexPath(name string) string {
	name = strings.ToLower(name)
	return prefix(name) + "/" + name
}

func prefix(name string) string {
	switch len(name) {
	case 1:
		return "1"
	case 2:
		return "2"
	case 3:
		return "3/" + name[:1]
	}
	return name[:2] + "/" + name[2:4]
}

// validVersion tells whether a version is a semantic one in full, with numbers
// that Cargo can hold.
func validVersion(v string) bool {
	s := "v" + v
	if len(v) > maxVersion || !semver.IsValid(s) || semver.Canonical(s)+semver.Build(s) != s {
		return false
	}
	numbers, _, _ := strings.Cut(withoutBuild(v), "-")
	for n := range strings.SplitSeq(numbers, ".") {
		if _, err := strconv.ParseUint(n, 10, 64); err != nil {
			return false
		}
	}
	return true
}

func withoutBuild(version string) string {
	v, _, _ := strings.Cut(version, "+")
	return v
}

// compare orders versions, those that differ in build metadata only by its text.
func compare(a, b string) int {
	if c := semver.Compare("v"+a, "v"+b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func scopeOf(name string) string     { return cratesDir + "/" + strings.ToLower(name) }
func ownersScope(name string) string { return namesDir + "/" + canonical(name) }

func pointerName(version string) string { return ":" + withoutBuild(version) }

func fileName(name, version string) string {
	return strings.ToLower(name) + "-" + version + crateExt
}
