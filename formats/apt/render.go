package apt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"granary/digest"
	"granary/formats"
)

// Renderer names what Render writes.
func (*Format) Renderer() string { return "apt6" }

// Render writes all documents of a distribution, or the list of distributions,
// or what only the keys are needed for.
func (f *Format) Render(_ context.Context, scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	switch scope {
	case keys:
		return renderKeys(recs, pub)
	case dists:
		return renderList(recs, pub)
	}
	d, err := newDistribution(strings.TrimPrefix(scope, dists+"/"), pub)
	if err != nil {
		return err
	}
	defer d.close()
	for rec, err := range recs {
		if err != nil {
			return err
		}
		if err := d.add(rec); err != nil {
			return err
		}
	}
	if err := d.finish(); err != nil {
		return err
	}
	date, err := pub.Date(f.now())
	if err != nil {
		return err
	}
	return d.release(date)
}

func renderList(recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	list := []string{}
	for rec, err := range recs {
		if err != nil {
			return err
		}
		list = append(list, strings.TrimPrefix(rec.Name, ":"))
	}
	w, err := pub.Create(listDoc, "application/json")
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(list)
}

// distribution is the rendering of one: a section after the other, in the
// order of the records' names.
type distribution struct {
	name    string
	pub     formats.Pub
	decoder *zstd.Decoder

	component, arch string                     // of the section being written; "" for none
	w               io.Writer                  // its index
	done            map[string]bool            // architectures that the component has an index of
	sections        map[string]map[string]bool // done by component
	contents        contents
	pkg             string          // the package whose files follow, with component and architecture
	shown           map[string]bool // the pointers of it that have a stanza
	pending         string          // its name with its section

	fields            paragraph // of Release that are not as in every distribution
	components, archs []string
	entries           []entry // what Release lists, in order
}

func newDistribution(name string, pub formats.Pub) (*distribution, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, fmt.Errorf("read names of files: %w", err)
	}
	return &distribution{name: name, pub: pub, decoder: dec, done: map[string]bool{}, sections: map[string]map[string]bool{}}, nil
}

func (d *distribution) close() { d.decoder.Close() }

// algorithms are those of the lists in Release.
var algorithms = []digest.Algorithm{digest.MD5, digest.SHA512}

// add writes a record into its section. Pointers to the files of a package
// follow the one that holds its stanza.
func (d *distribution) add(rec formats.Record) error {
	if rec.Name == fieldsMark {
		var err error
		d.fields, err = readFields(rec)
		return err
	}
	if component, arch, ok := marked(rec.Name); ok {
		return d.enter(component, arch)
	}
	component, arch, pkg, list, ok := pointed(rec.Name)
	if !ok {
		return fmt.Errorf("%w: pointer %s", formats.ErrCorrupt, rec.Key())
	}
	if list {
		stanza, _, _ := strings.Cut(rec.Name, ",")
		if !d.shown[stanza] {
			return nil // another member's package stands in the place of this one, or it is not shown
		}
		return d.list(rec)
	}
	if err := d.enter(component, arch); err != nil {
		return err
	}
	if at := component + "/" + arch + "/" + pkg; at != d.pkg {
		d.pkg, d.shown = at, map[string]bool{}
	}
	d.shown[rec.Name] = true
	d.pending = qualified(rec.Meta, pkg)
	if _, err := d.w.Write(rec.Meta); err != nil {
		return err
	}
	_, err := io.WriteString(d.w, "\n")
	return err
}

// qualified is a package as Contents names it: with its section, if it has one.
func qualified(stanza []byte, pkg string) string {
	for line := range bytes.Lines(stanza) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(name), "Section") {
			if s := string(bytes.TrimSpace(value)); s != "" && !strings.ContainsAny(s, " \t,") {
				return s + "/" + pkg
			}
		}
	}
	return pkg
}

func (d *distribution) list(rec formats.Record) error {
	files, err := unpackFiles(d.decoder, rec.Meta)
	if err != nil {
		return fmt.Errorf("%s: %w", rec.Key(), err)
	}
	d.contents.add(d.arch, d.pending, files)
	return nil
}

// index is the path of a section's index.
func index(component, arch string) string {
	if arch == archSource {
		return component + "/source/Sources"
	}
	return component + "/binary-" + arch + "/Packages"
}

// enter begins a section unless it is the one being written.
func (d *distribution) enter(component, arch string) error {
	if component == d.component && arch == d.arch {
		return nil
	}
	return d.begin(component, arch)
}

// begin ends the section before and starts the next. Packages of every
// architecture stand in the index of each: their section sorts first.
func (d *distribution) begin(component, arch string) error {
	if err := d.end(); err != nil {
		return err
	}
	if component != d.component {
		if err := d.endComponent(); err != nil {
			return err
		}
		d.component, d.done = component, map[string]bool{}
		d.sections[component] = d.done
		d.components = append(d.components, component)
	}
	d.arch = arch
	var all io.ReadCloser
	if arch != archSource && arch != archAll && d.done[archAll] {
		var err error
		// Before Create: looking up a document ends the one being written.
		if all, err = d.opened(index(component, archAll)); err != nil {
			return err
		}
		defer all.Close() //nolint:errcheck // only read
	}
	w, err := d.pub.Create(index(component, arch), typeText, algorithms...)
	if err != nil {
		return err
	}
	d.w = w
	d.done[arch] = true
	if all != nil {
		_, err = io.Copy(w, all)
	}
	return err
}

func (d *distribution) opened(path string) (io.ReadCloser, error) {
	doc, err := d.pub.Document(path)
	if err != nil {
		return nil, err
	}
	return doc.Open()
}

// end completes the section being written: its compressed forms.
func (d *distribution) end() error {
	if d.w == nil {
		return nil
	}
	d.w = nil
	if d.arch != archSource && !slices.Contains(d.archs, d.arch) {
		d.archs = append(d.archs, d.arch)
	}
	if err := d.sectionRelease(); err != nil {
		return err
	}
	return d.compress(index(d.component, d.arch))
}

// endComponent adds an index for each architecture that the repository is set
// to have and that got no package of its own, and one of sources: clients that
// are set up for them warn where there is none.
func (d *distribution) endComponent() error {
	if d.component == "" {
		return nil
	}
	for _, arch := range append(slices.Clone(d.pub.Settings().Architectures), archSource) {
		if d.done[arch] || arch == archAll {
			continue
		}
		if err := d.begin(d.component, arch); err != nil {
			return err
		}
		if err := d.end(); err != nil {
			return err
		}
	}
	return d.writeContents()
}

// finish ends the last section, and adds components without packages.
func (d *distribution) finish() error {
	if err := d.end(); err != nil {
		return err
	}
	if err := d.endComponent(); err != nil {
		return err
	}
	d.component = ""
	for _, c := range d.pub.Settings().Components {
		if slices.Contains(d.components, c) {
			continue
		}
		if err := d.begin(c, archAll); err != nil {
			return err
		}
		if err := d.end(); err != nil {
			return err
		}
		if err := d.endComponent(); err != nil {
			return err
		}
		d.component = ""
	}
	return d.complete()
}

// complete gives each component an index of each architecture that another one
// has: clients of it find the packages of every architecture there, and mirrors
// ask for every pair that Release names.
func (d *distribution) complete() error {
	archs := slices.Clone(d.archs)
	for _, c := range d.components {
		d.component, d.done = c, d.sections[c]
		for _, arch := range archs {
			if d.done[arch] {
				continue
			}
			if err := d.begin(c, arch); err != nil {
				return err
			}
			if err := d.end(); err != nil {
				return err
			}
		}
	}
	return nil
}

// xzMost is the longest index of which an xz form is made, in bytes: longer
// ones would take seconds.
const xzMost = 8 << 20

// compress makes the compressed forms of a document and links all forms under
// their digests.
func (d *distribution) compress(path string) error {
	doc, err := d.pub.Document(path)
	if err != nil {
		return err
	}
	if err := d.publish(path, doc); err != nil {
		return err
	}
	for _, form := range []string{".gz", ".xz"} {
		if form == ".xz" && doc.Size() > xzMost {
			continue
		}
		if err := d.pack(path+form, form, func(w io.Writer) error { return copyOf(w, doc) }); err != nil {
			return err
		}
	}
	return nil
}

func copyOf(w io.Writer, doc formats.Document) error {
	r, err := doc.Open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	_, err = io.Copy(w, r)
	return err
}

// pack makes a document of what write writes, compressed.
func (d *distribution) pack(path, form string, write func(io.Writer) error) error {
	w, err := d.pub.Create(path, typeOctets, algorithms...)
	if err != nil {
		return err
	}
	z, err := d.pub.Compressor(w, form)
	if err != nil {
		return fmt.Errorf("compress %s: %w", path, err)
	}
	if err := write(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	packed, err := d.pub.Document(path)
	if err != nil {
		return err
	}
	return d.publish(path, packed)
}

// entry is a file that Release lists.
type entry struct {
	path string
	size int64
	sums digest.Sums
}

// publish lists a document in Release and links it under its digests.
func (d *distribution) publish(path string, doc formats.Document) error {
	d.entries = append(d.entries, entry{path, doc.Size(), doc.Sums()})
	dir := path[:strings.LastIndexByte(path, '/')+1]
	for name, a := range byHash {
		if err := d.pub.Link(path, dir+"by-hash/"+name+"/"+doc.Sums().Hex(a)); err != nil {
			return err
		}
	}
	return nil
}
