package yum

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// The main header's tags.
const (
	tagName          = 1000
	tagVersion       = 1001
	tagRelease       = 1002
	tagEpoch         = 1003
	tagSummary       = 1004
	tagDescription   = 1005
	tagBuildTime     = 1006
	tagBuildHost     = 1007
	tagSize          = 1009
	tagVendor        = 1011
	tagLicense       = 1014
	tagPackager      = 1015
	tagGroup         = 1016
	tagURL           = 1020
	tagArch          = 1022
	tagOldFileNames  = 1027
	tagFileModes     = 1030
	tagFileFlags     = 1037
	tagSourceRPM     = 1044
	tagArchiveSize   = 1046
	tagChangeTime    = 1080
	tagChangeName    = 1081
	tagChangeText    = 1082
	tagSourcePackage = 1106
	tagDirIndexes    = 1116
	tagBaseNames     = 1117
	tagDirNames      = 1118
	tagLongSize      = 5009
	tagPayloadSize   = 5113 // V6 (PAYLOADSIZEALT): uncompressed
)

// depTags are those of one kind of dependency.
type depTags struct{ name, flags, version uint32 }

var (
	tagsProvides    = depTags{1047, 1112, 1113}
	tagsRequires    = depTags{1049, 1048, 1050}
	tagsConflicts   = depTags{1054, 1053, 1055}
	tagsObsoletes   = depTags{1090, 1114, 1115}
	tagsRecommends  = depTags{5046, 5048, 5047}
	tagsSuggests    = depTags{5049, 5051, 5050}
	tagsSupplements = depTags{5052, 5054, 5053}
	tagsEnhances    = depTags{5055, 5057, 5056}
)

// pkg is what the metadata says of a package.
type pkg struct {
	name, arch             string
	evr                    evr
	summary, description   string
	packager, url          string
	vendor, license, group string
	buildHost, sourceRPM   string
	built, changed         uint64 // Unix s: the build, and the file
	installed, archive     uint64 // bytes
	headerStart, headerEnd int64
	provides, requires     []dep
	conflicts, obsoletes   []dep
	recommends, suggests   []dep
	supplements, enhances  []dep
	files                  []file
	changes                []change
}

// evr is a version with its epoch and release.
type evr struct{ epoch, version, release string }

// dep is a capability; flags is "" if any version will do.
type dep struct {
	name, flags string
	evr         evr
	pre         bool
}

type file struct{ path, kind string } // kind: "", "dir" or "ghost"

type change struct {
	author, text string
	time         uint64 // Unix s
}

// archSource is that of source packages.
const archSource = "src"

// The grammars of what stands in names of records and paths.
var (
	packageName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9+._-]{0,149}$`)
	versionText  = regexp.MustCompile(`^[A-Za-z0-9+._~^]{1,80}$`)
	architecture = regexp.MustCompile(`^[a-z0-9_]{1,30}$`)
)

// describe reads what a package's headers say. What they say wrongly is an
// ErrBadPackage.
func (h *headers) describe() (*pkg, error) {
	p := &pkg{headerStart: h.start, headerEnd: h.end}
	r := reading{h: h.main}
	p.name, p.arch = r.text(tagName), r.text(tagArch)
	p.evr = evr{strconv.FormatUint(r.number(tagEpoch), 10), r.text(tagVersion), r.text(tagRelease)}
	p.summary, p.description = r.text(tagSummary), r.text(tagDescription)
	p.packager, p.url = r.text(tagPackager), r.text(tagURL)
	p.vendor, p.license, p.group = r.text(tagVendor), r.text(tagLicense), r.text(tagGroup)
	p.buildHost, p.sourceRPM = r.text(tagBuildHost), r.text(tagSourceRPM)
	p.built, p.installed = r.number(tagBuildTime), r.number(tagLongSize, tagSize)
	// The file's own time is that of the build, so that the same package is
	// described alike whenever it was uploaded.
	p.changed = p.built
	p.archive = r.number(tagArchiveSize, tagPayloadSize)
	if r.err == nil {
		var n uint64
		if n, r.err = h.signature.number(sigLongArchive, sigPayloadSize); n > 0 {
			p.archive = n
		}
	}
	if h.main.has(tagSourcePackage) || p.sourceRPM == "" && h.source {
		p.arch = archSource
	}
	p.files = r.files()
	for _, d := range []struct {
		to   *[]dep
		tags depTags
	}{
		{&p.provides, tagsProvides}, {&p.requires, tagsRequires}, {&p.conflicts, tagsConflicts}, {&p.obsoletes, tagsObsoletes},
		{&p.recommends, tagsRecommends}, {&p.suggests, tagsSuggests}, {&p.supplements, tagsSupplements}, {&p.enhances, tagsEnhances},
	} {
		*d.to = r.deps(d.tags)
	}
	p.changes = r.changes()
	if r.err != nil {
		return nil, r.err
	}
	p.tidy()
	return p, p.check()
}

func (p *pkg) check() error {
	switch {
	case !packageName.MatchString(p.name):
		return badPackage("Name is %.150q, which is no name of a package", p.name)
	case !versionText.MatchString(p.evr.version):
		return badPackage("Version is %.100q, which is no version", p.evr.version)
	case !versionText.MatchString(p.evr.release):
		return badPackage("Release is %.100q, which is no release", p.evr.release)
	case !architecture.MatchString(p.arch):
		return badPackage("Arch is %.50q, which is no architecture", p.arch)
	}
	return nil
}

// tidy leaves out what a repository does not tell: what rpm itself provides,
// repetitions, and what the package needs and has: files, and what it provides
// in the same words, such as config(…).
func (p *pkg) tidy() {
	own, provided := map[string]bool{}, map[dep]bool{}
	for _, f := range p.files {
		if f.primary() {
			own[f.path] = true
		}
	}
	for _, d := range p.provides {
		d.pre = false
		provided[d] = true
	}
	seen := map[dep]bool{}
	kept := p.requires[:0]
	for _, d := range p.requires {
		same := d
		same.pre = false
		if strings.HasPrefix(d.name, "rpmlib(") || own[d.name] || provided[same] || seen[d] {
			continue
		}
		seen[d] = true
		kept = append(kept, d)
	}
	p.requires = kept
}

// primary tells whether a file is listed with the package itself, so that it
// can be asked for without the list of all files.
func (f file) primary() bool {
	return strings.HasPrefix(f.path, "/etc/") || strings.Contains(f.path, "bin/") || f.path == "/usr/lib/sendmail"
}

// nevra is the package's name as people write it.
func (p *pkg) nevra() string {
	return p.name + "-" + p.evr.version + "-" + p.evr.release + "." + p.arch
}

// reading collects values of a header and keeps the first error.
type reading struct {
	h   *header
	err error
}

func (r *reading) text(tag uint32) string {
	if r.err != nil {
		return ""
	}
	var s string
	s, r.err = r.h.text(tag)
	return s
}

func (r *reading) number(tags ...uint32) uint64 {
	if r.err != nil {
		return 0
	}
	var n uint64
	n, r.err = r.h.number(tags...)
	return n
}

func (r *reading) strings(tag uint32) []string {
	if r.err != nil {
		return nil
	}
	var s []string
	s, r.err = r.h.strings(tag)
	return s
}

func (r *reading) numbers(tag uint32) []uint64 {
	if r.err != nil {
		return nil
	}
	var n []uint64
	n, r.err = r.h.numbers(tag)
	return n
}

// Bits of the flags of dependencies.
const (
	senseLess       = 1 << 1
	senseGreater    = 1 << 2
	senseEqual      = 1 << 3
	sensePrereq     = 1 << 6
	senseScriptPre  = 1 << 9
	senseScriptPost = 1 << 10
)

var comparisons = map[uint64]string{
	senseLess: "LT", senseGreater: "GT", senseEqual: "EQ", senseLess | senseEqual: "LE", senseGreater | senseEqual: "GE",
}

func (r *reading) deps(t depTags) []dep {
	names, flags, versions := r.strings(t.name), r.numbers(t.flags), r.strings(t.version)
	if len(names) == 0 || r.err != nil {
		return nil
	}
	if len(flags) != len(names) || len(versions) != len(names) {
		r.err = badPackage("tags %d, %d and %d have %d, %d and %d values", t.name, t.flags, t.version, len(names), len(flags), len(versions))
		return nil
	}
	out := make([]dep, len(names))
	for i, name := range names {
		out[i] = dep{name: name, pre: flags[i]&(sensePrereq|senseScriptPre|senseScriptPost) != 0}
		if cmp := comparisons[flags[i]&(senseLess|senseGreater|senseEqual)]; cmp != "" && versions[i] != "" {
			out[i].flags, out[i].evr = cmp, parseEVR(versions[i])
		}
	}
	return out
}

// parseEVR reads "[epoch:]version[-release]".
func parseEVR(s string) evr {
	v := evr{epoch: "0"}
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		s = rest
		if epoch != "" {
			v.epoch = epoch
		}
	}
	v.version = s
	if at := strings.LastIndexByte(s, '-'); at >= 0 {
		v.version, v.release = s[:at], s[at+1:]
	}
	return v
}

// Bits of files.
const (
	modeType  = 0o170000
	modeDir   = 0o040000
	flagGhost = 1 << 6
)

func (r *reading) files() []file {
	modes, flags := r.numbers(tagFileModes), r.numbers(tagFileFlags)
	paths := r.paths()
	if r.err != nil {
		return nil
	}
	out := make([]file, len(paths))
	for i, p := range paths {
		out[i].path = p
		switch {
		case i < len(modes) && modes[i]&modeType == modeDir:
			out[i].kind = "dir"
		case i < len(flags) && flags[i]&flagGhost != 0:
			out[i].kind = "ghost"
		}
	}
	return out
}

// paths puts directories and names together. Of all paths at most
// maxDescription bytes are made: a directory's name may stand in very many.
func (r *reading) paths() []string {
	names, dirs, at := r.strings(tagBaseNames), r.strings(tagDirNames), r.numbers(tagDirIndexes)
	if r.err != nil || len(names) == 0 {
		return r.strings(tagOldFileNames)
	}
	if len(at) != len(names) {
		r.err = badPackage("it has %d names of files and %d directories of them", len(names), len(at))
		return nil
	}
	out, total := make([]string, len(names)), 0
	for i, name := range names {
		if at[i] >= uint64(len(dirs)) {
			r.err = badPackage("file %.100q is in directory %d of %d", name, at[i], len(dirs))
			return nil
		}
		out[i] = dirs[at[i]] + name
		if total += len(out[i]); total > maxDescription {
			r.err = badPackage("the paths of its files have more than %d bytes", maxDescription)
			return nil
		}
	}
	return out
}

// changes returns the change log, oldest first as metadata has it. Of entries
// of one day, which is all that packages say, each is a second later than the
// one before it: readers put them in order by their times.
func (r *reading) changes() []change {
	times, authors, texts := r.numbers(tagChangeTime), r.strings(tagChangeName), r.strings(tagChangeText)
	n := min(len(times), len(authors), len(texts))
	out := make([]change, n)
	for at := range n {
		i := n - 1 - at
		out[at] = change{strings.TrimRight(authors[i], " "), texts[i], times[i]}
		if at > 0 && times[i] == times[i+1] {
			out[at].time = out[at-1].time + 1
		}
	}
	return out
}

// fileName is what a package's file is called by custom.
func (p *pkg) fileName() string { return p.nevra() + ".rpm" }

// dirOf is the directory of a path in the repository, "" for its top.
func dirOf(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}
