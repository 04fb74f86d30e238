package explain

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/gc"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/refs"
)

// Registry is what of the configuration is asked; [config.Registry] is one.
type Registry interface {
	Living(ctx context.Context) ([]*config.Repository, error)
}

// Config is what an Explainer is made of.
type Config struct {
	KV       kv.Store
	Registry Registry
	Store    func(ctx context.Context, id string) (blob.Store, error)
	// Upload tells which blobs an item of an upload session needs.
	Upload func(item kv.Item) ([]repo.Named, error)
	// Pending says how far the collector is; [gc.Collector.Pending] does.
	Pending func(ctx context.Context, store, hash string, version kv.Version) (gc.Pending, error)
	Now     func() time.Time
	// Items is how many items are read for one answer at the most. Optional;
	// 200,000.
	Items int
}

// Explainer answers. It is used concurrently, and reads alone.
type Explainer struct{ c Config }

// New returns an Explainer.
func New(c Config) *Explainer {
	if c.Items <= 0 {
		c.Items = maxItems
	}
	return &Explainer{c}
}

// The bounds of one answer.
const (
	MaxNames = 1000 // of what is listed; a caller may ask for less
	maxItems = 200_000
	maxTime  = 10 * time.Second
)

// Query asks for a blob.
type Query struct {
	Store string // id
	// ID is a blob id, or the BLAKE3 of its content in hex, which is found at once:
	// for a blob id all references of the store are gone through first.
	ID     string
	Limit  int    // of Names; 0 is MaxNames
	Cursor string // the Next of an earlier answer; "" is the begin
}

// Reference is what the store's table says of a content.
type Reference struct {
	Hash  string // BLAKE3 in hex
	Blob  blob.ID
	Size  int64 // bytes
	State refs.State
	Since time.Time // from which on the state holds
}

// Kind is what sort of thing names a blob.
type Kind string

// The kinds, in the order in which they are looked for.
const (
	Upload      Kind = "upload"      // a session that is not over
	Publication Kind = "publication" // rendered documents of a scope
	Document    Kind = "document"    // an upstream's, kept by a cache
	Record      Kind = "record"      // an artifact that holds now
	History     Kind = "history"     // what an artifact was, kept for snapshots and a time
)

// Name is one thing that names the blob.
type Name struct {
	Kind       Kind
	Repository string    // name
	Path       string    // of an artifact or document, the scope of a publication, the id of a session
	Since      time.Time // history: from when the artifact was that; zero for others
	Blob       blob.ID   // that it names; another than the reference's after healing
}

// Answer is what was found out.
type Answer struct {
	Blob      blob.ID // "" if it is not known
	Hash      string  // "" if it is not known
	Reference *Reference
	Object    *int64 // bytes of the object in the blob store; nil: there is none
	Pending   gc.Pending
	Names     []Name
	Items     int    // that were read for this answer
	Next      string // Cursor to go on with; "": everything has been looked at
}

// Explain looks for a blob. formats.ErrBadRequest for what is no id or cursor,
// formats.ErrNotFound if nothing knows of it.
func (e *Explainer) Explain(ctx context.Context, q Query) (Answer, error) {
	s := &search{Explainer: e, store: q.Store, room: MaxNames, until: e.c.Now().Add(maxTime)}
	if q.Limit > 0 {
		s.room = min(q.Limit, MaxNames)
	}
	if err := s.begin(q); err != nil {
		return Answer{}, err
	}
	if err := s.reference(ctx); err != nil {
		return Answer{}, fmt.Errorf("look for the reference of %s: %w", q.ID, err)
	}
	if !s.full() {
		if err := s.names(ctx); err != nil {
			return Answer{}, fmt.Errorf("look for what names %s: %w", q.ID, err)
		}
	}
	if err := s.object(ctx); err != nil {
		return Answer{}, err
	}
	a := s.answer
	a.Next, a.Items = s.next(), s.items
	if q.Cursor == "" && a.Next == "" && a.Reference == nil && a.Object == nil && len(a.Names) == 0 {
		return Answer{}, fmt.Errorf("blob %s: %w", q.ID, formats.ErrNotFound)
	}
	return a, nil
}

// begin reads the id and the cursor.
func (s *search) begin(q Query) error {
	s.at.stage = stageReferences
	if hash, err := hex.DecodeString(q.ID); err == nil && len(hash) == digest.BLAKE3.Size() {
		s.answer.Hash = strings.ToLower(q.ID)
	} else if s.answer.Blob, err = blob.ParseID(q.ID); err != nil || isWork(s.answer.Blob) {
		return formats.BadRequest("%.80q is neither a blob id nor a BLAKE3 in hex", q.ID)
	}
	if q.Cursor == "" {
		return nil
	}
	var ok bool
	if s.at, ok = parsePlace(q.Cursor); !ok {
		return formats.BadRequest("the cursor can't be read")
	}
	if s.at.hash != "" {
		s.answer.Hash = s.at.hash
	}
	return nil
}

// isWork tells whether an id is that of an object of the collector's own.
func isWork(id blob.ID) bool {
	_, work := id.Work()
	return work
}

// object looks whether the bytes are there.
func (s *search) object(ctx context.Context) error {
	if s.answer.Blob == "" {
		return nil
	}
	bs, err := s.c.Store(ctx, s.store)
	if err != nil {
		return err
	}
	info, err := bs.Stat(ctx, s.answer.Blob)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look for blob %s: %w", s.answer.Blob, err)
	}
	s.answer.Object = &info.Size
	return nil
}

// living are the repositories that a mark goes through, in order of their ids.
func (s *search) living(ctx context.Context) ([]*config.Repository, error) {
	repos, err := s.c.Registry.Living(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the repositories: %w", err)
	}
	repos = slices.Clone(repos)
	slices.SortFunc(repos, func(a, b *config.Repository) int { return strings.Compare(a.ID, b.ID) })
	return repos, nil
}
