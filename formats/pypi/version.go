package pypi

import (
	"cmp"
	"regexp"
	"strings"
)

// versionForm is the grammar of PEP 440, appendix B.
var versionForm = regexp.MustCompile(`^v?(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)` +
	`(?:[-_.]?(alpha|beta|preview|pre|a|b|c|rc)[-_.]?([0-9]*))?` +
	`(?:-([0-9]+)|[-_.]?(post|rev|r)[-_.]?([0-9]*))?` +
	`(?:[-_.]?(dev)[-_.]?([0-9]*))?` +
	`(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$`)

// version is a parsed version. Numbers are decimal digits without leading
// zeros: they have no upper bound.
type version struct {
	epoch   string
	release []string
	pre     string // "a", "b", "rc", or "" for none
	preN    string
	post    string // "" for none
	dev     string // "" for none
	local   []string
}

// parseVersion reads a version as PEP 440 has it, in any of its spellings.
func parseVersion(s string) (version, bool) {
	if len(s) > maxVersion {
		return version{}, false
	}
	m := versionForm.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if m == nil {
		return version{}, false
	}
	v := version{epoch: number(m[1])}
	for part := range strings.SplitSeq(m[2], ".") {
		v.release = append(v.release, number(part))
	}
	switch m[3] {
	case "":
	case "a", "alpha":
		v.pre, v.preN = "a", number(m[4])
	case "b", "beta":
		v.pre, v.preN = "b", number(m[4])
	default:
		v.pre, v.preN = "rc", number(m[4])
	}
	if m[5] != "" || m[6] != "" {
		v.post = number(m[5] + m[7])
	}
	if m[8] != "" {
		v.dev = number(m[9])
	}
	if m[10] != "" {
		for _, part := range strings.FieldsFunc(m[10], func(r rune) bool { return r == '-' || r == '_' || r == '.' }) {
			if isNumber(part) {
				part = number(part)
			}
			v.local = append(v.local, part)
		}
	}
	return v, true
}

// number drops leading zeros; nothing is 0.
func number(s string) string {
	if s = strings.TrimLeft(s, "0"); s == "" {
		return "0"
	}
	return s
}

func isNumber(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// String is the normal form.
func (v version) String() string {
	var b strings.Builder
	if v.epoch != "0" {
		b.WriteString(v.epoch + "!")
	}
	b.WriteString(strings.Join(v.release, "."))
	if v.pre != "" {
		b.WriteString(v.pre + v.preN)
	}
	if v.post != "" {
		b.WriteString(".post" + v.post)
	}
	if v.dev != "" {
		b.WriteString(".dev" + v.dev)
	}
	if len(v.local) > 0 {
		b.WriteString("+" + strings.Join(v.local, "."))
	}
	return b.String()
}

// prerelease tells whether installers pass over the version unless asked.
func (v version) prerelease() bool { return v.pre != "" || v.dev != "" }

// compare orders versions: -1, 0, 1.
func (v version) compare(o version) int {
	return cmp.Or(
		compareNumbers(v.epoch, o.epoch),
		compareRelease(v.release, o.release),
		cmp.Compare(v.phase(), o.phase()),
		cmp.Compare(v.pre, o.pre),
		compareNumbers(v.preN, o.preN),
		compareAbsent(v.post, o.post, -1),
		compareAbsent(v.dev, o.dev, 1),
		compareLocal(v.local, o.local),
	)
}

// phase puts development releases of a version before its pre-releases, these
// before the version.
func (v version) phase() int {
	switch {
	case v.pre != "":
		return 1
	case v.post == "" && v.dev != "":
		return 0
	}
	return 2
}

// compareNumbers takes numbers without leading zeros; none is least.
func compareNumbers(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func compareRelease(a, b []string) int {
	for i := range max(len(a), len(b)) {
		x, y := "0", "0"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// compareAbsent compares numbers of which none ranks before (-1) or behind (1)
// any.
func compareAbsent(a, b string, none int) int {
	switch {
	case a == "" && b == "":
		return 0
	case a == "":
		return none
	case b == "":
		return -none
	}
	return compareNumbers(a, b)
}

// compareLocal: numbers are greater than words, and more is greater.
func compareLocal(a, b []string) int {
	for i := range min(len(a), len(b)) {
		x, y := isNumber(a[i]), isNumber(b[i])
		c := cmp.Compare(a[i], b[i])
		switch {
		case x && y:
			c = compareNumbers(a[i], b[i])
		case x != y && x:
			c = 1
		case x != y:
			c = -1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}
