package apt

import (
	"bufio"
	"io"
	"maps"
	"slices"

	"granary/digest"
)

// maxContents bounds the lines of Contents of one component that are kept in
// memory. Beyond it the component has no Contents: apt does without, and only
// apt-file asks for them.
const maxContents = 3_000_000

// contents collects which packages have which files in one component.
type contents struct {
	archs map[string]*owners // by architecture
	lines int
}

// owners are the packages that have a file. Nearly all have one.
type owners struct {
	first map[string]string
	more  map[string][]string
}

func newOwners() *owners { return &owners{first: map[string]string{}, more: map[string][]string{}} }

// add tells whether the file is a new one. The versions of a package come one
// after another.
func (o *owners) add(file, pkg string) bool {
	have, ok := o.first[file]
	if !ok {
		o.first[file] = pkg
		return true
	}
	if more := o.more[file]; len(more) > 0 {
		have = more[len(more)-1]
	}
	if have != pkg {
		o.more[file] = append(o.more[file], pkg)
	}
	return false
}

func (c *contents) add(arch, pkg string, files []string) {
	if arch == archSource || c.lines+len(files) > maxContents {
		c.lines = maxContents + 1
		return
	}
	if c.archs == nil {
		c.archs = map[string]*owners{}
	}
	if c.archs[arch] == nil {
		c.archs[arch] = newOwners()
	}
	for _, f := range files {
		if c.archs[arch].add(f, pkg) {
			c.lines++
		}
	}
}

// writeContents writes <component>/Contents-<arch>.gz for each architecture of
// the component. Files of packages of every architecture are in each.
func (d *distribution) writeContents() error {
	c := d.contents
	d.contents = contents{}
	if c.lines == 0 || c.lines > maxContents {
		return nil
	}
	for _, arch := range slices.Sorted(maps.Keys(d.done)) {
		if arch == archSource {
			continue
		}
		of := []*owners{}
		for _, a := range slices.Compact([]string{arch, archAll}) {
			if c.archs[a] != nil {
				of = append(of, c.archs[a])
			}
		}
		if err := d.packContents(d.component+"/Contents-"+arch, of); err != nil {
			return err
		}
	}
	return nil
}

// packContents writes Contents compressed alone: it is ten times that. Release
// lists it as it is too, as those of Debian do: apt asks for no form of a file
// whose plain form is not listed. One digest is enough for that, and several
// would take longer than all the rest.
func (d *distribution) packContents(path string, of []*owners) error {
	whole := digest.NewHasher()
	defer whole.Release()
	err := d.pack(path+".gz", ".gz", func(w io.Writer) error { return writeOwners(io.MultiWriter(w, whole), of) })
	if err != nil {
		return err
	}
	d.entries = append(d.entries, entry{path, whole.Len(), whole.Sums()})
	return nil
}

// writeOwners writes a line for each file: its name and the packages that have it.
func writeOwners(out io.Writer, of []*owners) error {
	w := bufio.NewWriter(out)
	var files []string
	for _, o := range of {
		files = slices.AppendSeq(files, maps.Keys(o.first))
	}
	slices.Sort(files)
	for _, f := range slices.Compact(files) {
		w.WriteString(f) //nolint:errcheck // Flush tells
		between := "\t"
		for _, o := range of {
			if pkg, ok := o.first[f]; ok {
				for _, pkg := range append([]string{pkg}, o.more[f]...) {
					w.WriteString(between) //nolint:errcheck // likewise
					w.WriteString(pkg)     //nolint:errcheck // likewise
					between = ","
				}
			}
		}
		w.WriteString("\n") //nolint:errcheck // likewise
	}
	return w.Flush()
}
