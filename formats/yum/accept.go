package yum

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"granary/digest"
	"granary/formats"
)

// Limits of a form.
const (
	maxField = 900 // bytes of a directory or file name
	maxFiles = 50
)

// uploaded is a package that came with an upload.
type uploaded struct {
	name string // "": by custom
	*pkg
	formats.Blob
}

// Accept publishes packages where their path or form says, or removes one;
// replaces or removes comps and its like; makes or drops a snapshot.
func (f *Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch op.Label {
	case labelExtra:
		return acceptExtra(ctx, op, up, tx)
	case labelSnapshot:
		return snapshot(ctx, up, tx)
	case labelDrop:
		return dropSnapshot(ctx, op, tx)
	}
	if op.Kind == formats.Delete {
		return removePackage(ctx, op, tx)
	}
	dir, files := op.Scope, []uploaded(nil)
	var err error
	if op.Name != "" {
		files = []uploaded{{name: op.Name}}
		files[0].pkg, files[0].Blob, err = receive(ctx, up.Header, up.Body, tx)
	} else {
		dir, files, err = readForm(ctx, up, tx)
	}
	if err != nil {
		return err
	}
	return publish(ctx, dir, files, tx)
}

// receive reads a package with the digests that its headers promise.
func receive(ctx context.Context, h http.Header, body io.Reader, tx formats.Tx) (*pkg, formats.Blob, error) {
	want, err := formats.Promised(h)
	if err != nil {
		return nil, nil, err
	}
	c, err := newChecked(body)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.describe()
	if err != nil {
		return nil, nil, err
	}
	b, err := tx.Blob(ctx, c, want.Algorithms()...)
	if err != nil {
		return nil, nil, fmt.Errorf("receive the package: %w", err)
	}
	if err := formats.CheckSums(b, want); err != nil {
		return nil, nil, err
	}
	return p, b, c.finish()
}

// readForm reads packages from any field that has a file name, and where they
// belong from the others, which may come after them.
func readForm(ctx context.Context, up *formats.Upload, tx formats.Tx) (dir string, files []uploaded, err error) {
	form, err := formats.NewForm(up)
	if err != nil {
		return "", nil, err
	}
	name := ""
	for {
		part, err := form.Next()
		switch {
		case errors.Is(err, io.EOF) && len(files) == 0:
			return "", nil, formats.BadRequest("the form has no package")
		case errors.Is(err, io.EOF):
			if name != "" && len(files) > 1 {
				return "", nil, formats.BadRequest("the form names one file and has %d", len(files))
			}
			if name != "" {
				files[0].name = name
			}
			return dir, files, nil
		case err != nil:
			return "", nil, err
		case part.FileName() == "":
			value, err := part.Text(maxField)
			if err != nil {
				return "", nil, err
			}
			switch part.FormName() {
			case "directory", "yum.directory":
				dir = strings.Trim(value, "/")
			case "filename", "yum.asset.filename":
				name = value
			}
			continue
		case len(files) == maxFiles:
			return "", nil, formats.BadRequest("the form has more than %d files", maxFiles)
		}
		f := uploaded{}
		if f.pkg, f.Blob, err = receive(ctx, http.Header(part.Header), part, tx); err != nil {
			return "", nil, fmt.Errorf("%s: %w", part.FileName(), err)
		}
		files = append(files, f)
	}
}

// rootOf is the directory whose metadata lists what lies in dir: the first ones
// of its segments, as many as the settings say, or all if there are fewer.
func rootOf(dir string, depth int) string {
	segs := strings.Split(dir, "/")
	return strings.Join(segs[:min(depth, len(segs))], "/")
}

// scopeOf is that of a root's pointers and documents.
func scopeOf(root string) string { return formats.Join(root, repodata) }

// publish puts packages and what lists them.
func publish(ctx context.Context, dir string, files []uploaded, tx formats.Tx) error {
	c, err := newCodec()
	if err != nil {
		return err
	}
	defer c.close()
	root := rootOf(dir, tx.Settings().RepodataDepth)
	var all batch
	for _, f := range files {
		if f.name == "" {
			f.name = f.fileName()
		}
		if err := f.checkPlace(dir); err != nil {
			return err
		}
		if err := all.add(ctx, root, dir, f, c, tx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := all.announce(ctx, root, tx); err != nil {
		return err
	}
	all.put(tx)
	return nil
}

// checkPlace refuses a path at which no package can lie.
func (f *uploaded) checkPlace(dir string) error {
	p := path.Join(dir, f.name)
	if !isPackage(f.name) {
		return formats.BadRequest("%.100q is no name for a package: it must end in .rpm", f.name)
	}
	if err := formats.CheckSegment(f.name); err != nil {
		return err
	}
	if err := formats.CheckPath(formats.Join(dir, f.name)); err != nil {
		return err
	}
	if inRepodata(p) || strings.HasPrefix(f.name, ":") || strings.HasPrefix(dir, keys) || strings.HasPrefix(dir+"/", snapshots+"/") {
		return formats.BadRequest("no package can lie at %.200q", p)
	}
	return nil
}

// rootMark is the name of the record that makes a root: its metadata is there,
// and names nothing, also when its last package is gone.
const rootMark = ":root"

// batch is what an upload puts and deletes.
type batch struct {
	puts    []func(formats.Tx)
	names   map[string]bool // of what it puts
	deletes [][2]string     // scope and name
}

// add plans a package: its file, then the pieces of its description, then the
// pointer that makes it listed.
func (b *batch) add(ctx context.Context, root, dir string, f uploaded, c *codec, tx formats.Tx) error {
	id := f.Sums().SHA256
	parts := f.fragments(sum{"sha256", f.Sums().Hex(digest.SHA256)}, f.Size())
	first, rest, err := c.pack(id, &parts)
	if err != nil {
		return err
	}
	s := stored{Root: root, Name: f.pointerName(), Pieces: len(rest), ID: id}
	meta, err := cbor.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode what is known of %s: %w", f.nevra(), err)
	}
	file := formats.Record{Scope: dir, Name: f.name, Type: typeRPM, Meta: meta}
	for _, key := range []string{file.Key(), s.Name} {
		if b.names[key] {
			return formats.BadRequest("the form has %s twice", key)
		}
		if b.names == nil {
			b.names = map[string]bool{}
		}
		b.names[key] = true
	}
	scope, names := scopeOf(root), s.names()
	may := unlessOther(id, file.Key())
	if err := b.look(ctx, file, s, may, tx); err != nil {
		return err
	}
	b.puts = append(b.puts, func(tx formats.Tx) {
		tx.Put(file, f.Blob)
		for i, m := range rest {
			tx.Put(formats.Record{Scope: scope, Name: names[i+1], Move: true, Meta: m}, nil)
		}
		tx.PutIf(formats.Record{Scope: scope, Name: names[0], Path: file.Key(), Move: true, Meta: first}, nil, may)
	})
	return nil
}

// unlessOther refuses to list a package in the place of another one of the same
// name, version and architecture that has other bytes, unless that one's file
// is what is being replaced: the conflict policy has judged that.
func unlessOther(id []byte, path string) func(*formats.Record) error {
	return func(old *formats.Record) error {
		if old == nil {
			return nil
		}
		var p pointer
		if err := cbor.Unmarshal(old.Meta, &p); err != nil {
			return fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, old.Key(), err)
		}
		if !bytes.Equal(p.ID, id) && old.Path != path {
			return fmt.Errorf("the same package with other bytes lies at %s: it %w", old.Path, formats.ErrExists)
		}
		return nil
	}
}

// look reads what is there before anything is written: a package of the same
// name, and at the path another one, whose pointers have to go.
func (b *batch) look(ctx context.Context, file formats.Record, s stored, may func(*formats.Record) error, tx formats.Tx) error {
	old, err := tx.Record(ctx, scopeOf(s.Root), s.Name)
	switch {
	case err == nil:
		if err := may(&old); err != nil {
			return err
		}
	case !errors.Is(err, formats.ErrNotFound):
		return fmt.Errorf("look up %s: %w", s.Name, err)
	}
	was, err := storedAt(ctx, file.Scope, file.Name, tx)
	if err != nil || was == nil {
		return err
	}
	kept := map[string]bool{}
	for _, name := range s.names() {
		kept[scopeOf(s.Root)+" "+name] = true
	}
	names, err := was.listing(ctx, scopeOf(was.Root), file.Key(), tx)
	for _, name := range names {
		if scope := scopeOf(was.Root); !kept[scope+" "+name] {
			b.deletes = append(b.deletes, [2]string{scope, name})
		}
	}
	return err
}

// listing returns the names of the pointers in a scope that list the package at
// a path, none if the same package at another path took its place.
func (s *stored) listing(ctx context.Context, scope, path string, tx formats.Tx) ([]string, error) {
	rec, err := tx.Record(ctx, scope, s.Name)
	if errors.Is(err, formats.ErrNotFound) {
		return s.names(), nil // a deletion may have ended half way
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", s.Name, err)
	}
	if rec.Path != path {
		return nil, nil
	}
	return s.names(), nil
}

// storedAt returns what lists the package at a path, nil if there is none.
func storedAt(ctx context.Context, scope, name string, tx formats.Tx) (*stored, error) {
	rec, err := tx.Record(ctx, scope, name)
	if errors.Is(err, formats.ErrNotFound) || err == nil && rec.Meta == nil {
		return nil, nil //nolint:nilnil // said above
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", formats.Join(scope, name), err)
	}
	var s stored
	if err := cbor.Unmarshal(rec.Meta, &s); err != nil {
		return nil, fmt.Errorf("%w: what is known of %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	if s.Name == "" {
		return nil, nil //nolint:nilnil // a copy
	}
	return &s, nil
}

// announce makes the root known if it is not.
func (b *batch) announce(ctx context.Context, root string, tx formats.Tx) error {
	_, err := tx.Record(ctx, scopeOf(root), rootMark)
	if errors.Is(err, formats.ErrNotFound) {
		b.puts = append(b.puts, func(tx formats.Tx) {
			tx.Put(formats.Record{Scope: scopeOf(root), Name: rootMark, Move: true}, nil)
		})
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up the root %q: %w", root, err)
	}
	return nil
}

func (b *batch) put(tx formats.Tx) {
	for _, put := range b.puts {
		put(tx)
	}
	for _, d := range b.deletes {
		tx.Delete(d[0], d[1])
	}
}

// removePackage deletes what lists a package, the pointer before the pieces,
// and then the file, which knows what lists it.
func removePackage(ctx context.Context, op formats.Op, tx formats.Tx) error {
	s, err := storedAt(ctx, op.Scope, op.Name, tx)
	if err != nil {
		return err
	}
	if s == nil {
		tx.Delete(op.Scope, op.Name)
		return nil
	}
	scopes := []string{scopeOf(s.Root)}
	for rec, err := range tx.Records(ctx, snapshots) {
		if err != nil {
			return fmt.Errorf("look up snapshots: %w", err)
		}
		scopes = append(scopes, snapshotScope(strings.TrimPrefix(rec.Name, ":")))
	}
	for _, scope := range scopes {
		names, err := s.listing(ctx, scope, op.Key(), tx)
		if err != nil {
			return err
		}
		for _, name := range names {
			tx.Delete(scope, name)
		}
	}
	tx.Delete(op.Scope, op.Name)
	return nil
}

// Answer says 200 to a form, 201 with an empty body to a PUT or a snapshot.
func (*Format) Answer(w http.ResponseWriter, r *http.Request, op formats.Op, records []formats.Record) bool {
	if r.Method != http.MethodPost || op.Label == labelSnapshot {
		w.WriteHeader(http.StatusCreated)
		return true
	}
	out := struct {
		Paths []string `json:"paths"`
	}{Paths: []string{}}
	for _, rec := range records {
		if len(rec.Sums.SHA256) > 0 {
			out.Paths = append(out.Paths, rec.Key())
		}
	}
	w.Header().Set("Content-Type", "application/json")
	// An error here is the client's going away: the status has been sent.
	json.NewEncoder(w).Encode(out) //nolint:errcheck,errchkjson // see above
	return true
}

// Component takes the form of Nexus's component upload: "yum.asset" with
// "yum.asset.filename" and "yum.directory".
func (*Format) Component() formats.Op {
	return formats.Op{Kind: formats.Write, Label: labelUpload}
}
