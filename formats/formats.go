// Package formats is the contract of a package format. A [Format] knows one
// ecosystem and nothing of storage, upstreams, users or groups.
//
// Every request of every ecosystem is one of five things ([Kind]): a file
// (opaque bytes), a document (rendered from many records), a write, a delete,
// or a small call (login, search). A format says how a path is read ([Format]
// Route), how an upload becomes records (Accept), how an upstream document
// becomes records ([Parser]) and how records become documents ([Indexer]).
// What kind of repository asks — hosted, cache, group, a snapshot — it never
// learns; that is written once, in package repo.
package formats

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"granary/digest"
)

// Format is what every ecosystem provides. Implementations are stateless and
// used concurrently.
type Format interface {
	// Name is the format as REST clients spell it, such as "golang".
	Name() string
	// Route reads a request below the repository. It does no I/O and must not
	// panic on any input. false: the format has no such path or method; the
	// client is answered 404 or, if another method would do, 405.
	Route(Req) (Op, bool)
	// Accept turns the body of a Write into records, or says by tx.Delete
	// which records a Delete removes (up is nil then). It checks everything
	// before the first tx.Put; what it returns as an error has changed nothing.
	Accept(ctx context.Context, op Op, up *Upload, tx Tx) error
}

// Parser is implemented by formats whose records an upstream tells in
// documents, so that a cache lists what it has no copy of.
type Parser interface {
	Format
	// Entry names the upstream document, relative to the upstream's base,
	// whose change means that the records of the scope have changed; "" for a
	// scope that has no documents, only files.
	Entry(scope string) string
	// Parse yields the scope's records as an upstream tells them, in ascending
	// order of [Record.Name], reading Entry and what it leads to from src. It
	// yields one error, last. An upstream without the scope is ErrNotFound.
	Parse(ctx context.Context, scope string, src Source) iter.Seq2[Record, error]
}

// Indexer is a Parser with documents that are rendered from records. Scopes of
// other formats carry no stamp and no publications.
type Indexer interface {
	Parser
	// Render writes all documents of the scope. recs is in ascending order of
	// Name and must be read to its end or its error returned.
	Render(ctx context.Context, scope string, recs iter.Seq2[Record, error], pub Pub) error
	// Renderer changes whenever Render would make other bytes of the same
	// records: publications of other renderers are not served.
	Renderer() string
}

// Req is what routing may look at. Path is below the repository, decoded once,
// without leading slash, empty or dot segments; Slash tells whether it ended
// in one.
type Req struct {
	Method string
	Path   string
	Slash  bool
	Query  url.Values
	Header http.Header
}

// Kind is what a request is.
type Kind uint8

// The kinds of requests.
const (
	File   Kind = iota + 1 // bytes of the record at Scope, Name
	Doc                    // Path within the publication of Scope
	Write                  // an upload, given to Accept
	Delete                 // a removal, given to Accept without a body
	Call                   // given to the format's Caller
)

// Verb is the right that a request needs.
type Verb string

// The rights on a repository.
const (
	VerbRead   Verb = "read"
	VerbWrite  Verb = "write"
	VerbDelete Verb = "delete"
	// VerbNone is of a Call that needs no right, since it judges credentials
	// itself: a log-in. Who has no right in a repository reaches it whatever is
	// there, with a nil View: the answer must not tell.
	VerbNone Verb = "none"
)

// Op is a routed request.
type Op struct {
	Kind  Kind
	Label string // "list", "module zip": name in metrics and audit; one of few
	Scope string // set of records that the answer depends on; "" is a scope too
	Name  string // File, Delete: record within Scope
	Path  string // Doc: file within the publication; File in a cache: path at the upstream, "" = Scope/Name
	Sum   digest.Sums
	Fixed bool // bytes at this name never change
	// Kept, for a Doc: its path tells which publication it is of, so that it is
	// found in those before the present one, as what Sum names is.
	Kept bool
	// Type is the media type of a File where its name tells it. For a Doc it
	// replaces the document's own: one that clients ask for by several names.
	Type string
	// Missing, for a Doc: an empty scope is answered as an empty document
	// instead of not found. Rendering is asked for no record then.
	Missing bool
	// Member, for a File of a group: the id of the member that is asked, "" for all in
	// their order. Formats leave it empty.
	Member string
	Verb   Verb // set for a Call; else it follows from Kind
}

// Needs returns the right that the operation needs.
func (o Op) Needs() Verb {
	switch {
	case o.Verb != "":
		return o.Verb
	case o.Kind == Write:
		return VerbWrite
	case o.Kind == Delete:
		return VerbDelete
	default:
		return VerbRead
	}
}

// Key returns Scope/Name, the record's full name.
func (o Op) Key() string { return Join(o.Scope, o.Name) }

// Upstream returns the path that a cache asks for a File.
func (o Op) Upstream() string {
	if o.Path != "" {
		return o.Path
	}
	return o.Key()
}

// Record is one file, version, tag or pointer. Scope and Name together are
// unique; merging and rendering go by Name within a scope.
type Record struct {
	Scope string
	// Name is below the scope, non-empty. Its last segment begins with ":" if
	// the record has no bytes of its own; such records are not browsed. That
	// holds for a [Parser] only: to other formats, which have nothing but
	// files, it is a character like any other.
	Name string
	Path string // where clients fetch the file if not at Scope/Name
	URL  string // upstream location if not base+Path; absolute or relative to the entry document
	Type string // media type of the bytes
	Sums digest.Sums
	Size int64
	Time time.Time // when these bytes were published here
	// Created is when the path had its first bytes, Blob their present id in
	// the store ("" for bytes kept in the record). Only the core sets them.
	Created time.Time
	Blob    string
	Move    bool   // made to be overwritten (tag, pointer); the conflict policy does not judge a Put that says so
	Force   bool   // the publisher asks to replace other bytes: no conflict policy but deny refuses a Put that says so
	Meta    []byte // the format's own bytes; the core never looks inside
	// Points is, in a Put, the key of the record of the same upload that this
	// one is nothing without, such as the manifest that a tag names; "" for
	// none. A removal that says [Tx.Retire] of that one takes either both or
	// neither. Such a Put is never left out because the same is there already.
	Points string
}

// Key returns Scope/Name.
func (r Record) Key() string { return Join(r.Scope, r.Name) }

// Join puts a scope and a name together.
func Join(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "/" + name
}

// Upload is the body of a write with what was said about it.
type Upload struct {
	Header http.Header
	Query  url.Values
	Body   io.Reader
	Size   int64 // -1 if unknown
	// Repository is the name in the URL, for answers that carry it.
	Repository string
}

// Tx collects what an upload does. Nothing is visible before Accept returns
// nil; then blobs are stored, records written in the order of Put (the first
// one decides a conflict and should be the one with the package's bytes),
// deletions made, and the scopes stamped.
type Tx interface {
	// Blob reads r to its end, hashing BLAKE3, SHA-256 and what else is asked.
	// Memory is bounded whatever the size, and for all blobs of the upload
	// together. Bytes that no Put names are dropped.
	Blob(ctx context.Context, r io.Reader, also ...digest.Algorithm) (Blob, error)
	// Put writes a record with the bytes of b, or without bytes if b is nil.
	// Size, Sums and Time are filled in.
	Put(rec Record, b Blob)
	// PutIf is Put for a record whose content must agree with what is there:
	// may is asked in the moment of writing, with nil for nothing, and its
	// error refuses the upload. It may be asked more than once. Such a record
	// is not judged by the conflict policy.
	PutIf(rec Record, b Blob, may func(old *Record) error)
	// Delete removes a record; the client hears not found if none of the
	// deletions of the operation met a record.
	Delete(scope, name string)
	// Record returns one record as it is now, read consistently, or
	// ErrNotFound.
	Record(ctx context.Context, scope, name string) (Record, error)
	// Records yields what the scope holds now, read consistently.
	Records(ctx context.Context, scope string) iter.Seq2[Record, error]
	// Retire is Record for one that is about to be deleted with others that point
	// at it ([Record.Points]), which are looked for after this call and deleted
	// before it. Accept may then be called again, since an upload came between.
	Retire(ctx context.Context, scope, name string) (Record, error)
	// Settings returns what the repository that is written to is set to.
	Settings() Settings
}

// Adopter is implemented by a [Tx] whose upload came through a group: clients
// leave out what the group told them it has.
type Adopter interface {
	// Find returns a file that any member has, all of its bytes. ErrNotFound if
	// none has it.
	Find(ctx context.Context, op Op) (*Content, error)
	// Adopt makes what Find returned a file of the repository that is written
	// to, as rec, which has no sums. It is published before what Put names.
	Adopt(ctx context.Context, rec Record, c *Content) error
}

// Blob is uploaded bytes that may be read again before they are published.
type Blob interface {
	io.ReaderAt
	Size() int64
	Sums() digest.Sums
}

// Source reads documents of an upstream.
type Source interface {
	// Open returns the document at a path relative to the upstream's base, or
	// an absolute URL that the upstream named. With sum its bytes are checked
	// before any are returned. ErrNotFound if the upstream has none.
	Open(ctx context.Context, path string, sum digest.Sums) (io.ReadCloser, error)
	// Settings returns what the repository that asks is set to.
	Settings() Settings
}

// Content is a record ready to be sent.
type Content struct {
	Record
	// Open returns the bytes from offset on, n of them, -1 for the rest.
	Open func(ctx context.Context, offset, n int64) (io.ReadCloser, error)
	// Inline holds the bytes of small files; Open is set all the same.
	Inline []byte
	// Fixed: the bytes at this name never change.
	Fixed bool
	// BlobID is the id in the store, "" for inline bytes.
	BlobID string
	// Expand, for documents: replace the stand-ins of Pub.URL while sending.
	// Size and Sums are then those of the stored form.
	Expand bool
	// Gzip, if set, is the same bytes compressed, with sums and size of its own.
	Gzip *Content
	// Accessed, if set, notes that a client read the file.
	Accessed func()
	// Presign, if set, returns a URL at which the blob store itself answers a
	// GET for a while; ok is false where it can't.
	Presign func(ctx context.Context, contentType string) (url string, ok bool, err error)
	// Lost, if set, tells whether the bytes are known to be missing or wrong. It is
	// for who answers without opening them, where bytes have been lost at all.
	Lost func(ctx context.Context) (bool, error)
	// Warning, if set, is told to the client: "110 - \"stale\"", for instance.
	Warning string
}

// Entry is a line of a directory listing.
type Entry struct {
	Name  string // last segment
	Dir   bool
	Count int64 // of files below, for a directory
	Size  int64 // bytes, for a directory those below
	Time  time.Time
	File  *Record // nil for a directory
}

// View is what a repository answers, whatever kind it is.
type View interface {
	// Stamp: equal stamps mean equal records. "" if the scope never had any.
	Stamp(ctx context.Context, scope string) (string, error)
	// Records yields the scope's records in ascending order of Name.
	Records(ctx context.Context, scope string) iter.Seq2[Record, error]
	// Open finds the file that op asks for. ErrNotFound, or why it could not
	// be told.
	Open(ctx context.Context, op Op) (*Content, error)
	// Dir yields what lies in a directory ("" is the root): directories first,
	// then files, each in order of their names.
	Dir(ctx context.Context, dir string) iter.Seq2[Entry, error]
}

// Caller is implemented by formats with calls of their own.
type Caller interface {
	Call(w http.ResponseWriter, r *http.Request, op Op, view View) error
}

// Verifier is implemented by formats whose files a cache can check before they
// become visible, beyond the digests that a document promised.
type Verifier interface {
	// Verify returns an error wrapping digest.ErrMismatch or ErrBadPackage if
	// the bytes are not what op asks for. src reaches the same upstream.
	Verify(ctx context.Context, op Op, b Blob, src Source) error
	// Verifies tells whether Verify looks at what op names, so that other
	// files can be passed on while they arrive.
	Verifies(op Op) bool
}

// Mutable is implemented by formats that say of an upstream path whether its
// bytes may change; without it [Op].Fixed decides.
type Mutable interface {
	Mutable(upstreamPath string) bool
}

// Promiser is implemented by formats whose upstream documents say where a file
// is and what digest it has.
type Promiser interface {
	// Promised tells whether the record of op among those that Parse yields
	// for its scope has to be asked before the file is fetched.
	Promised(op Op) bool
}

// Failer is implemented by formats whose clients understand an error body of
// their own. It returns false to leave the answer to the caller.
type Failer interface {
	Fail(w http.ResponseWriter, r *http.Request, status int, message string) bool
}

// Signs is implemented by an [Indexer] whose documents are signed, so that
// [Pub] has a Signer and other keys make another publication.
type Signs interface{ Signs() }

// Credentialer is implemented by formats whose clients send a token in a place
// of their own, such as a header named after the ecosystem or Authorization
// without a scheme.
type Credentialer interface {
	// Credential returns the token that a request carries there, false if it
	// carries none. It is asked only for requests below a repository without
	// credentials that every route understands, before it is known whether the
	// repository is of this format; the token counts only if it is.
	Credential(r *http.Request) (token string, ok bool)
}

// Titler is implemented by formats that write a Content-Disposition.
type Titler interface {
	Disposition(op Op) (filename string, ok bool)
}
