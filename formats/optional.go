package formats

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"time"
)

// Substituter is implemented by formats that can answer for a file that is not
// there from something that is: "x.sha256" from the digests of "x".
type Substituter interface {
	// Substitute names what to try after op, a File, was not found; it is
	// asked once, not about its own answer. Like Route it does no I/O.
	Substitute(op Op) (Op, bool)
}

// Substitute asks f; false where it has no substitutes, op is no File, or err,
// what op met, is anything but ErrNotFound.
func Substitute(f Format, op Op, err error) (Op, bool) {
	s, ok := f.(Substituter)
	if !ok || op.Kind != File || !errors.Is(err, ErrNotFound) {
		return Op{}, false
	}
	return s.Substitute(op)
}

// Answerer is implemented by formats whose clients expect something else after
// a write than 201 with the first record as a REST artifact.
type Answerer interface {
	// Answer writes the whole answer to a Write that succeeded. records are
	// those that Accept put, as they were stored. It returns false, with
	// nothing written, to leave the answer to the caller.
	Answer(w http.ResponseWriter, r *http.Request, op Op, records []Record) bool
}

// Pager is implemented by views that can begin a directory in its middle.
type Pager interface {
	// DirAfter is Dir without the entries up to and including after: the name
	// of an entry, with a slash at its end if that is a directory. after need
	// not exist; "" is the beginning.
	DirAfter(ctx context.Context, dir, after string) iter.Seq2[Entry, error]
}

// DirAfter lists a directory from the middle on; a view that is no Pager is
// read from the beginning.
func DirAfter(ctx context.Context, v View, dir, after string) iter.Seq2[Entry, error] {
	if p, ok := v.(Pager); ok {
		return p.DirAfter(ctx, dir, after)
	}
	return func(yield func(Entry, error) bool) {
		for e, err := range v.Dir(ctx, dir) {
			if err == nil && !e.After(after) {
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Cursor returns what DirAfter takes to go on behind the entry.
func (e Entry) Cursor() string {
	if e.Dir {
		return e.Name + "/"
	}
	return e.Name
}

// After tells whether a listing has the entry behind the cursor: directories
// come first.
func (e Entry) After(cursor string) bool {
	if cursor == "" {
		return true
	}
	name, dir := cursor, false
	if cursor[len(cursor)-1] == '/' {
		name, dir = cursor[:len(cursor)-1], true
	}
	if e.Dir != dir {
		return dir
	}
	return e.Name > name
}

// ComponentUploader is implemented by formats that take the form which Nexus
// calls a component: POST /service/rest/v1/components.
type ComponentUploader interface {
	// Component returns the Write that Accept is given with that form as its
	// body. Its fields are named "<format>.asset", "<format>.asset.filename"
	// and so on, and come in any order.
	Component() Op
}

// Accepter is implemented by formats whose upstreams keep a document in several
// forms.
type Accepter interface {
	// Accepts returns the Accept header for a path at the upstream, "" for any
	// form.
	Accepts(upstreamPath string) string
}

// Versioner is implemented by formats that know which records of a scope are
// one version of a package, for rules on how many and which versions stay. Of
// other formats each folder of a scope, or file, counts as a version of it.
type Versioner interface {
	// Package is what people call the package that a record belongs to.
	Package(rec Record) string
	// Version is the version that a record belongs to.
	Version(rec Record) string
}

// Announcer is implemented by formats whose records are found by way of others,
// as those of a distribution are by its name. Promotion brings those along.
type Announcer interface {
	// Announces yields the keys, scope and name, of records without bytes that
	// have to be where a record is. They need not exist. It does no I/O.
	Announces(scope, name string) iter.Seq2[string, string]
}

// Releaser is implemented by formats whose files belong to packages with
// versions: policies are about those, whatever files they are made of.
type Releaser interface {
	// Release names the package and the version that a record of a scope
	// belongs to. An empty name asks for the package that all of the scope is
	// of. "" stands for none, or for what is of no one version. It does no I/O.
	Release(scope, name string) (pkg, version string)
	// Published tells when the release of a record was published, by the
	// documents of an upstream; the zero time where they don't tell.
	Published(ctx context.Context, rec Record, src Source) (time.Time, error)
}

// Describer is implemented by Releasers of whose files the bytes tell what
// release they are of, and the name may tell nothing, or another one.
type Describer interface {
	// Describe reads what Described needs of a file that was verified, to be the
	// Meta of a cache's copy; nil for what the name tells as well.
	Describe(op Op, b Blob) ([]byte, error)
	// Described returns, by the Meta of a file's record, the name by which
	// Release would tell what it is of; "" where it is not known.
	Described(rec Record) string
}

// Placer is implemented by Releasers of whose packages records lie in several
// scopes.
type Placer interface {
	// ClaimScope names the scope whose records tell whether a package that lies
	// in this one is claimed; "": it is told elsewhere, by the index that leads
	// here.
	ClaimScope(scope string) string
	// Aged tells whether a record is judged by its age. What is not, is judged
	// where that which it names is fetched.
	Aged(scope, name string) bool
}

// Dater is implemented by sources that can tell when the upstream's file at a
// path was last modified, without fetching it.
type Dater interface {
	// Modified returns the zero time where the upstream does not tell.
	Modified(ctx context.Context, path string) (time.Time, error)
}

// Modified asks src; the zero time where it can't tell.
func Modified(ctx context.Context, src Source, path string) (time.Time, error) {
	if d, ok := src.(Dater); ok {
		return d.Modified(ctx, path)
	}
	return time.Time{}, nil
}

// Deriver is implemented by formats with files that are a part of another file,
// such as the metadata in a package. A cache makes them itself where the
// upstream does not have them, or can't be asked while the other file is here.
type Deriver interface {
	// Derived names the file that op's is a part of; false: it is none.
	Derived(op Op) (whole Op, ok bool)
	// Derive returns op's file. Only what it reads of the whole is fetched. The
	// whole's not being a package is an ErrBadPackage.
	Derive(ctx context.Context, op Op, whole Blob) ([]byte, error)
}
