package pypi

import (
	"fmt"
	"regexp"
	"strings"

	"granary/formats"
)

// Limits of names, in bytes.
const (
	maxName    = 128
	maxVersion = 128
)

var (
	nameForm = regexp.MustCompile(`^([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9])$`)
	runs     = regexp.MustCompile(`[-_.]+`)
	// fileForm is what a distribution may be called; a "+" and "!" come with
	// local versions and epochs.
	fileForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+!-]*$`)
	wheelForm = regexp.MustCompile(`^([^-]+)-([^-]+)(?:-([0-9][^-]*))?-([^-]+)-([^-]+)-([^-]+)\.whl$`)
)

// bad returns an ErrBadPackage with a sentence for the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// normalise is the name of a project as PEP 503 compares it; false for what is
// no name.
func normalise(name string) (string, bool) {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return "", false
	}
	return strings.ToLower(runs.ReplaceAllString(name, "-")), true
}

// Kinds of distributions, as uploads call them.
const (
	kindWheel = "bdist_wheel"
	kindSdist = "sdist"
)

// distribution is what the name of a file says.
type distribution struct {
	file    string
	kind    string // kindWheel or kindSdist
	project string // normalised
	version version
	python  string // tag of the interpreter, "source" for an sdist
}

// sdistEnds are the archives that sdists are; only the first two are taken as
// uploads.
var sdistEnds = [...]string{".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar"}

// parseFile reads the name of a wheel (PEP 427) or sdist (PEP 625). Older
// sdists have hyphens in their names: project, if known, tells where it ends.
func parseFile(file, project string) (distribution, error) {
	d := distribution{file: file, project: project}
	if len(file) > formats.MaxSegment || !fileForm.MatchString(file) {
		return d, bad("%q is no name of a distribution", file)
	}
	if strings.HasSuffix(file, ".whl") {
		return d.wheel()
	}
	for _, end := range sdistEnds {
		if base, ok := strings.CutSuffix(file, end); ok {
			return d.sdist(base)
		}
	}
	return d, bad("%q is neither a wheel nor an sdist", file)
}

func (d distribution) wheel() (distribution, error) {
	m := wheelForm.FindStringSubmatch(d.file)
	if m == nil {
		return d, bad("%q is no name of a wheel", d.file)
	}
	project, ok := normalise(m[1])
	if !ok {
		return d, bad("%q has no name of a project", d.file)
	}
	v, ok := parseVersion(m[2])
	if !ok {
		return d, bad("%q has no version as PEP 440 defines it", d.file)
	}
	d.kind, d.version, d.python = kindWheel, v, m[4]
	return d.of(project)
}

func (d distribution) sdist(base string) (distribution, error) {
	d.kind, d.python = kindSdist, "source"
	for i := len(base) - 1; i > 0; i-- {
		if base[i] != '-' {
			continue
		}
		project, ok := normalise(base[:i])
		if !ok || d.project != "" && project != d.project {
			continue
		}
		if d.version, ok = parseVersion(base[i+1:]); ok {
			return d.of(project)
		}
	}
	if d.project != "" {
		return d, bad("%q is no sdist of %s", d.file, d.project)
	}
	return d, bad("%q is no name of an sdist", d.file)
}

func (d distribution) of(project string) (distribution, error) {
	if d.project != "" && d.project != project {
		return d, bad("%q is a file of %s, not of %s", d.file, project, d.project)
	}
	d.project = project
	return d, nil
}
