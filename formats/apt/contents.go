package apt

import (
	"bufio"
	"maps"
	"slices"
	"strings"
)

// maxContents bounds the lines of Contents of one component that are kept in
// memory. Beyond it the component has no Contents: apt does without, and only
// apt-file asks for them.
const maxContents = 3_000_000

// contents collects which packages have which files in one component.
type contents struct {
	archs map[string]map[string]string // by architecture: file → packages, with commas
	lines int
}

func (c *contents) add(arch, pkg string, files []string) {
	if arch == archSource || c.lines+len(files) > maxContents {
		c.lines = maxContents + 1
		return
	}
	if c.archs == nil {
		c.archs = map[string]map[string]string{}
	}
	if c.archs[arch] == nil {
		c.archs[arch] = map[string]string{}
	}
	of := c.archs[arch]
	for _, f := range files {
		switch have := of[f]; {
		case have == "":
			of[f] = pkg
			c.lines++
		case !slices.Contains(strings.Split(have, ","), pkg):
			of[f] = have + "," + pkg
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
		files := maps.Clone(c.archs[arch])
		if files == nil {
			files = map[string]string{}
		}
		if arch != archAll {
			for f, pkgs := range c.archs[archAll] {
				if have := files[f]; have != "" {
					pkgs = have + "," + pkgs
				}
				files[f] = pkgs
			}
		}
		if err := d.writeContentsOf(arch, files); err != nil {
			return err
		}
	}
	return nil
}

func (d *distribution) writeContentsOf(arch string, files map[string]string) error {
	path := d.component + "/Contents-" + arch
	out, err := d.pub.Create(path, typeText, algorithms...)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	for _, f := range slices.Sorted(maps.Keys(files)) {
		w.WriteString(f)        //nolint:errcheck // Flush tells
		w.WriteString("\t")     //nolint:errcheck // likewise
		w.WriteString(files[f]) //nolint:errcheck // likewise
		w.WriteString("\n")     //nolint:errcheck // likewise
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return d.compress(path, false)
}
