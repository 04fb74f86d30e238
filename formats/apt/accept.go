package apt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"granary/digest"
	"granary/formats"
)

const maxFiles = 50 // of a form

// Accept publishes a binary package, or a source package from a form, in its
// distributions; makes a snapshot of a distribution or sets its fields; removes
// a package, from the pool or from a distribution, or a distribution.
func (f *Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch op.Label {
	case labelDrop:
		return dropDistribution(ctx, op, tx)
	case labelSnapshot:
		return snapshot(ctx, up, tx)
	case labelFields:
		return setFields(ctx, op, up, tx)
	case labelUnlist:
		return unlist(ctx, op, tx)
	}
	if op.Kind == formats.Delete {
		return removePackage(ctx, op, tx)
	}
	var d destination
	d.properties(op.Name)
	body, isForm, err := sniff(up)
	if err != nil {
		return err
	}
	files := []uploaded{{name: "package.deb"}}
	if isForm {
		files, err = readForm(ctx, up, body, &d, tx)
	} else {
		files[0].Blob, err = receive(ctx, up.Header, body, tx)
	}
	if err != nil {
		return err
	}
	if op.Label == labelNexus && len(d.distributions) == 0 {
		return formats.BadRequest("apt.asset.distribution is needed")
	}
	if err := d.check(); err != nil {
		return err
	}
	return publish(ctx, files, d, tx)
}

// sniff tells a form from a bare package: clients of other servers send a
// package and call it a form.
func sniff(up *formats.Upload) (body io.Reader, isForm bool, err error) {
	r := bufio.NewReaderSize(up.Body, 4096)
	head, err := r.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if bytes.Equal(head, []byte("!<arch>\n")) || !formats.IsForm(up) {
		return r, false, nil
	}
	return r, true, nil
}

// uploaded is a file that came with an upload.
type uploaded struct {
	name string
	formats.Blob
}

// receive reads a file with the digests that its headers promise.
func receive(ctx context.Context, h http.Header, body io.Reader, tx formats.Tx) (formats.Blob, error) {
	want, err := formats.Promised(h)
	if err != nil {
		return nil, err
	}
	b, err := tx.Blob(ctx, body, append(want.Algorithms(), digest.MD5)...)
	if err != nil {
		return nil, fmt.Errorf("receive the package: %w", err)
	}
	return b, formats.CheckSums(b, want)
}

// readForm reads files from any field that has a file name, and where they
// belong from the others.
func readForm(ctx context.Context, up *formats.Upload, body io.Reader, d *destination, tx formats.Tx) ([]uploaded, error) {
	copied := *up
	copied.Body = body
	form, err := formats.NewForm(&copied)
	if err != nil {
		return nil, err
	}
	var files []uploaded
	for {
		part, err := form.Next()
		switch {
		case errors.Is(err, io.EOF) && len(files) == 0:
			return nil, formats.BadRequest("the form has no file")
		case errors.Is(err, io.EOF):
			return files, nil
		case err != nil:
			return nil, err
		case part.FileName() == "":
			value, err := part.Text(maxCoordinate * maxTargets)
			if err != nil {
				return nil, err
			}
			d.set(part.FormName(), value)
			continue
		case len(files) == maxFiles:
			return nil, formats.BadRequest("the form has more than %d files", maxFiles)
		}
		if err := formats.CheckSegment(part.FileName()); err != nil {
			return nil, err
		}
		b, err := receive(ctx, http.Header(part.Header), part, tx)
		if err != nil {
			return nil, err
		}
		files = append(files, uploaded{part.FileName(), b})
	}
}

// publish puts each package of an upload; files that are no package must
// belong to a source package of it.
func publish(ctx context.Context, files []uploaded, d destination, tx formats.Tx) error {
	var batches []batch
	var loose []uploaded
	for _, f := range files {
		var b batch
		var err error
		switch {
		case isDeb(f):
			b, err = binaryPackage(f, d)
		case strings.HasSuffix(f.name, ".dsc"):
			b, err = sourcePackage(ctx, f, files, d, tx)
		default:
			loose = append(loose, f)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		batches = append(batches, b)
	}
	for _, f := range loose {
		if !slices.ContainsFunc(batches, func(b batch) bool { return b.has(f.name) }) {
			return badPackage("%s is no Debian package and belongs to no .dsc of the upload", f.name)
		}
	}
	for _, b := range batches {
		if err := b.free(ctx, d, tx); err != nil {
			return err
		}
	}
	// The first put decides a conflict; what lists a file comes after it.
	for _, b := range batches {
		for i, rec := range b.files {
			tx.Put(rec, b.blobs[i])
		}
	}
	if err := announce(ctx, d, batches, tx); err != nil {
		return err
	}
	for _, b := range batches {
		b.list(d, tx)
	}
	return nil
}

func isDeb(f uploaded) bool {
	var head [8]byte
	_, err := f.ReadAt(head[:], 0)
	return (err == nil || errors.Is(err, io.EOF)) && string(head[:]) == "!<arch>\n"
}

// announce makes distributions known that were not, and the sections of them:
// an index stays when its last package goes, or clients that have it would find
// no repository.
func announce(ctx context.Context, d destination, batches []batch, tx formats.Tx) error {
	known := map[string]bool{}
	once := func(scope, name string) error {
		if known[scope+"/"+name] {
			return nil
		}
		known[scope+"/"+name] = true
		_, err := tx.Record(ctx, scope, name)
		switch {
		case errors.Is(err, formats.ErrNotFound):
			tx.Put(formats.Record{Scope: scope, Name: name, Move: true}, nil)
		case err != nil:
			return fmt.Errorf("look up %s in %s: %w", name, scope, err)
		}
		return nil
	}
	for _, dist := range d.distributions {
		if err := once(dists, ":"+dist); err != nil {
			return err
		}
		for _, b := range batches {
			if err := once(dists+"/"+dist, b.section+"/"+sectionMark); err != nil {
				return err
			}
		}
	}
	return nil
}

// batch is what one package puts: its files, then in each distribution its
// pointers.
type batch struct {
	section  string // component and architecture
	files    []formats.Record
	blobs    []formats.Blob
	pointers []formats.Record // without scope
}

func (b *batch) has(file string) bool {
	return slices.ContainsFunc(b.files, func(r formats.Record) bool { return r.Name == file })
}

// free refuses a package whose name, version and architecture a distribution
// lists for a file elsewhere in the pool; of its own path the conflict policy
// decides.
func (b *batch) free(ctx context.Context, d destination, tx formats.Tx) error {
	rec := b.pointers[len(b.pointers)-1]
	for _, dist := range d.distributions {
		old, err := tx.Record(ctx, dists+"/"+dist, rec.Name)
		if errors.Is(err, formats.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up %s in %s: %w", rec.Name, dist, err)
		}
		if err := sameFile(rec)(&old); err != nil {
			return err
		}
	}
	return nil
}

// sameFile says that a stanza may take the place of one of the same file only.
func sameFile(rec formats.Record) func(old *formats.Record) error {
	return func(old *formats.Record) error {
		if old == nil || old.Path == rec.Path || old.Path == "" { // sources had none at first
			return nil
		}
		return fmt.Errorf("%s, listed under this name, version and architecture, %w", old.Path, formats.ErrExists)
	}
}

// list puts the pointers into each distribution.
func (b *batch) list(d destination, tx formats.Tx) {
	for _, dist := range d.distributions {
		for i, rec := range b.pointers {
			rec.Scope = dists + "/" + dist
			if i < len(b.pointers)-1 {
				tx.Put(rec, nil)
				continue
			}
			tx.PutIf(rec, nil, sameFile(rec))
		}
	}
}

// binaryPackage reads a .deb.
func binaryPackage(f uploaded, d destination) (batch, error) {
	pkg, err := readDeb(formats.ReadAhead(f.Blob), f.Size())
	if err != nil {
		return batch{}, err
	}
	name, version, arch, err := identify(pkg.control)
	if err != nil {
		return batch{}, err
	}
	if len(d.archs) > 0 && !slices.Contains(d.archs, arch) && arch != archAll {
		return batch{}, badPackage("the upload says that the architecture is one of %.200q, the package that it is %q", d.archs, arch)
	}
	source, err := sourceOf(pkg.control, name)
	if err != nil {
		return batch{}, err
	}
	lists, err := packFiles(pkg.files)
	if err != nil {
		return batch{}, err
	}
	dir := poolDir(d.component(), source)
	file := name + "_" + withoutEpoch(version) + "_" + arch + extension(f.name)
	stanza := describe(pkg.control, dir+"/"+file, f.Blob)
	p := pooled{Component: d.component(), Arch: arch, Package: name, Version: version, Lists: len(lists)}
	return p.batch(formats.Record{Scope: dir, Name: file, Type: typeDeb}, f.Blob, stanza, lists)
}

func extension(name string) string {
	if strings.HasSuffix(name, ".udeb") {
		return ".udeb"
	}
	return ".deb"
}

// describe is the stanza of Packages.
func describe(control paragraph, path string, b formats.Blob) []byte {
	p := control.without("Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512")
	sums := b.Sums()
	p = append(p,
		field{"Filename", path}, field{"Size", fmt.Sprint(b.Size())},
		field{"MD5sum", sums.Hex(digest.MD5)}, field{"SHA256", sums.Hex(digest.SHA256)})
	return p.append(nil)
}

// batch completes what a package puts.
func (p pooled) batch(file formats.Record, b formats.Blob, stanza []byte, lists [][]byte) (batch, error) {
	if len(stanza) > maxStanza {
		return batch{}, badPackage("its control data has %d bytes, at most %d are possible", len(stanza), maxStanza)
	}
	meta, err := encode(p)
	if err != nil {
		return batch{}, err
	}
	file.Meta = meta
	out := batch{section: p.Component + "/" + p.Arch, files: []formats.Record{file}, blobs: []formats.Blob{b}}
	for i, l := range lists {
		out.pointers = append(out.pointers, formats.Record{Name: p.list(i), Move: true, Meta: l})
	}
	// Last, since it is what lists the package.
	pointer := formats.Record{Name: p.name(), Path: file.Key(), Move: true, Meta: stanza}
	out.pointers = append(out.pointers, pointer)
	return out, nil
}

// Answer says 200 to a form, 201 to what was made by PUT or is a snapshot.
func (*Format) Answer(w http.ResponseWriter, r *http.Request, op formats.Op, records []formats.Record) bool {
	status := http.StatusCreated
	if r.Method == http.MethodPost && op.Label == labelUpload {
		status = http.StatusOK
	}
	out := struct {
		Paths []string `json:"paths,omitempty"`
	}{}
	for _, rec := range records {
		if len(rec.Sums.SHA256) > 0 {
			out.Paths = append(out.Paths, rec.Key())
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here is the client's going away: the status has been sent.
	json.NewEncoder(w).Encode(out) //nolint:errcheck,errchkjson // see above
	return true
}

// Component takes the form of Nexus's component upload: "apt.asset" with
// "apt.asset.distribution", which it has to say, and "apt.asset.component".
func (*Format) Component() formats.Op {
	return formats.Op{Kind: formats.Write, Label: labelNexus}
}
