package yum

import "strconv"

// The elements of metadata as they are read.

type xmlVersion struct {
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"ver,attr"`
	Release string `xml:"rel,attr"`
}

// xmlPackage is a package in primary.
type xmlPackage struct {
	Name     string     `xml:"name"`
	Arch     string     `xml:"arch"`
	Version  xmlVersion `xml:"version"`
	Checksum struct {
		Type  string `xml:"type,attr"`
		Value string `xml:",chardata"`
	} `xml:"checksum"`
	Summary     string `xml:"summary"`
	Description string `xml:"description"`
	Packager    string `xml:"packager"`
	URL         string `xml:"url"`
	Time        struct {
		File  string `xml:"file,attr"`
		Build string `xml:"build,attr"`
	} `xml:"time"`
	Size struct {
		Package   int64  `xml:"package,attr"`
		Installed string `xml:"installed,attr"`
		Archive   string `xml:"archive,attr"`
	} `xml:"size"`
	Location xmlLocation `xml:"location"`
	Format   struct {
		License     string `xml:"license"`
		Vendor      string `xml:"vendor"`
		Group       string `xml:"group"`
		BuildHost   string `xml:"buildhost"`
		SourceRPM   string `xml:"sourcerpm"`
		HeaderRange struct {
			Start string `xml:"start,attr"`
			End   string `xml:"end,attr"`
		} `xml:"header-range"`
		Provides    []xmlDep  `xml:"provides>entry"`
		Requires    []xmlDep  `xml:"requires>entry"`
		Conflicts   []xmlDep  `xml:"conflicts>entry"`
		Obsoletes   []xmlDep  `xml:"obsoletes>entry"`
		Recommends  []xmlDep  `xml:"recommends>entry"`
		Suggests    []xmlDep  `xml:"suggests>entry"`
		Supplements []xmlDep  `xml:"supplements>entry"`
		Enhances    []xmlDep  `xml:"enhances>entry"`
		Files       []xmlFile `xml:"file"`
	} `xml:"format"`
}

type xmlDep struct {
	Name  string `xml:"name,attr"`
	Flags string `xml:"flags,attr"`
	Pre   string `xml:"pre,attr"`
	xmlVersion
}

type xmlFile struct {
	Type string `xml:"type,attr"`
	Path string `xml:",chardata"`
}

// xmlFiles is a package in filelists.
type xmlFiles struct {
	ID    string    `xml:"pkgid,attr"`
	Files []xmlFile `xml:"file"`
}

func (x xmlFiles) id() string { return x.ID }

func (x xmlFiles) weight() int {
	n := 100
	for _, f := range x.Files {
		n += len(f.Path) + 32
	}
	return n
}

// xmlChanges is a package in other.
type xmlChanges struct {
	ID      string `xml:"pkgid,attr"`
	Changes []struct {
		Author string `xml:"author,attr"`
		Date   string `xml:"date,attr"`
		Text   string `xml:",chardata"`
	} `xml:"changelog"`
}

func (x xmlChanges) id() string { return x.ID }

func (x xmlChanges) weight() int {
	n := 100
	for _, c := range x.Changes {
		n += len(c.Author) + len(c.Text) + 48
	}
	return n
}

// pkg puts together what the three documents say. Where there are no file lists
// the files are those in primary.
func (x *xmlPackage) pkg(files xmlFiles, changes xmlChanges) *pkg {
	f := &x.Format
	p := &pkg{
		name: x.Name, arch: x.Arch, evr: x.Version.evr(), summary: x.Summary, description: x.Description,
		packager: x.Packager, url: x.URL, vendor: f.Vendor, license: f.License, group: f.Group,
		buildHost: f.BuildHost, sourceRPM: f.SourceRPM,
		built: number(x.Time.Build), changed: number(x.Time.File), installed: number(x.Size.Installed), archive: number(x.Size.Archive),
		headerStart: int64(number(f.HeaderRange.Start) & maxInt64), headerEnd: int64(number(f.HeaderRange.End) & maxInt64), //nolint:gosec // masked
	}
	for _, d := range []struct {
		to   *[]dep
		from []xmlDep
	}{
		{&p.provides, f.Provides}, {&p.requires, f.Requires}, {&p.conflicts, f.Conflicts}, {&p.obsoletes, f.Obsoletes},
		{&p.recommends, f.Recommends}, {&p.suggests, f.Suggests}, {&p.supplements, f.Supplements}, {&p.enhances, f.Enhances},
	} {
		for _, e := range d.from {
			*d.to = append(*d.to, e.dep())
		}
	}
	from := files.Files
	if files.ID == "" {
		from = f.Files
	}
	for _, e := range from {
		p.files = append(p.files, file{e.Path, e.Type})
	}
	for _, c := range changes.Changes {
		p.changes = append(p.changes, change{c.Author, c.Text, number(c.Date)})
	}
	return p
}

const maxInt64 = 1<<63 - 1

func (v xmlVersion) evr() evr {
	if v.Epoch == "" {
		v.Epoch = "0"
	}
	return evr{v.Epoch, v.Version, v.Release}
}

func (e xmlDep) dep() dep {
	d := dep{name: e.Name, flags: e.Flags, pre: e.Pre == "1"}
	if e.Flags != "" {
		d.evr = e.evr()
	}
	return d
}

// number reads one that may be missing or nonsense: 0.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
