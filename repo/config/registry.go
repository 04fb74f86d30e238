package config

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"granary/kv"
)

// ClaimGrace is how long a name stays claimed that no repository confirms.
const ClaimGrace = time.Minute

// Times of one change: what it may take, how old a claim may be when its
// repository is written, and what telling the others or undoing may take once
// the caller is gone.
const (
	changeTimeout = 30 * time.Second
	confirmWithin = ClaimGrace / 2
	afterwards    = 15 * time.Second
)

// Options are what a [Registry] is made of.
type Options struct {
	KV      kv.Store
	Formats []string // built into this server
	// Now is the wall clock. Optional.
	Now func() time.Time
	// NewID makes ids of repositories and stores. Optional: ULIDs, lower case.
	NewID func() string
	// Sealer encrypts secrets at rest. Optional: they are stored in clear, of
	// which the caller warns its administrator.
	Sealer Sealer
	// Embedded: no other process has the store, so that claims found at the
	// first Load are left over.
	Embedded bool
	// DefaultShards is the number of record partitions of a new repository.
	// Optional: what suits the store.
	DefaultShards int
	// Probe is asked whether a new or changed store works, before it is
	// written. Optional.
	Probe func(ctx context.Context, s *Store) error
	// Log is told of what could not be tidied up. Optional.
	Log *slog.Logger
}

// Registry holds the whole configuration in memory, and changes it. It is used
// concurrently. What it returns is shared and not to be changed; a document
// keeps its address until it changes.
type Registry struct {
	o       Options
	current atomic.Pointer[snapshot]
	loading chan struct{} // held by the one Load that runs
	checked bool          // the key of the sealer; guarded by loading

	mu        sync.Mutex
	notify    func(context.Context) error // guarded by mu
	sightings map[string]sighting         // of unconfirmed claims, by name; guarded by mu
}

// sighting is when this process first saw a claim that no repository confirmed.
type sighting struct {
	version kv.Version
	since   time.Time // zero: it is left over from an earlier life
}

// Open returns an empty registry; [Registry.Load] fills it.
func Open(o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = func() string {
			return strings.ToLower(ulid.MustNew(ulid.Timestamp(o.Now()), rand.Reader).String())
		}
	}
	if o.DefaultShards == 0 {
		o.DefaultShards = kv.TraitsOf(o.KV).Shards
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Formats = slices.Sorted(slices.Values(o.Formats))
	r := &Registry{o: o, loading: make(chan struct{}, 1), sightings: map[string]sighting{}}
	defaults := DefaultSettings()
	r.current.Store(&snapshot{settings: &defaults})
	return r
}

// SetNotifier sets what is called after each change and returns when every
// node has loaded it; its error becomes the change's. Without one a change
// reaches this registry only.
func (r *Registry) SetNotifier(notify func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notify = notify
}

// Known returns what documents are judged against.
func (r *Registry) Known() Known {
	s := r.current.Load()
	return Known{Formats: r.o.Formats, Stores: s.storesByID, Repositories: s.repositories}
}

// Repository returns the repository of a name. A name that is not in memory is
// looked up consistently before the answer is ErrNotFound.
func (r *Registry) Repository(ctx context.Context, name string) (*Repository, error) {
	if repo, ok := r.current.Load().names[name]; ok && !repo.Pending {
		return repo, nil
	}
	if ValidName("name", name) != nil {
		return nil, notFound("repository", name)
	}
	f, err := r.look(ctx, name)
	if err != nil {
		return nil, err
	}
	if f.repo == nil || f.repo.Pending {
		return nil, notFound("repository", name)
	}
	return f.repo, nil
}

// RepositoryByID returns the repository with an id, from memory.
func (r *Registry) RepositoryByID(id string) (*Repository, bool) {
	repo, ok := r.current.Load().repositories[id]
	return repo, ok
}

// Stored reads a repository consistently, or ErrNotFound, also for one that is
// deleted.
func (r *Registry) Stored(ctx context.Context, id string) (*Repository, error) {
	repo, _, err := get[Repository](ctx, r, kv.Config(kindRepository, id), Repository{})
	if err != nil {
		return nil, err
	}
	_, err = r.o.KV.Get(ctx, kv.Config(kindDead, id), kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("read configuration of deleted repository %s: %w", id, err)
	}
	if repo == nil || err == nil {
		return nil, notFound("repository", id)
	}
	return repo, nil
}

// Repositories returns all repositories in order of their names, from memory,
// but for those that are pending.
func (r *Registry) Repositories() []*Repository {
	pending := func(repo *Repository) bool { return repo.Pending }
	return slices.DeleteFunc(slices.Clone(r.current.Load().repositoryList), pending)
}

// Store returns the store of a name. A name that is not in memory is looked up
// consistently before the answer is ErrNotFound.
func (r *Registry) Store(ctx context.Context, name string) (*Store, error) {
	if l, ok := r.current.Load().stores[name]; ok {
		return l.value, nil
	}
	if !storeName.MatchString(name) {
		return nil, notFound("store", name)
	}
	s, _, err := r.readStore(ctx, name)
	return s, err
}

// StoreByID returns the store with an id, from memory.
func (r *Registry) StoreByID(id string) (*Store, bool) {
	s, ok := r.current.Load().storesByID[id]
	return s, ok
}

// Stores returns all stores in order of their names, from memory.
func (r *Registry) Stores() []*Store { return slices.Clone(r.current.Load().storeList) }

// Settings returns the settings, from memory.
func (r *Registry) Settings() *Settings { return r.current.Load().settings }

// MemberIDs turns the names of repositories into ids. Its FieldError names field.
func (r *Registry) MemberIDs(ctx context.Context, field string, names []string) ([]string, error) {
	if len(names) > maxMembers {
		return nil, invalid(field, "there are %d, at most %d are allowed", len(names), maxMembers)
	}
	ids := make([]string, 0, len(names))
	for _, name := range names {
		repo, err := r.Repository(ctx, name)
		if errors.Is(err, ErrNotFound) {
			return nil, invalid(field, "there is no repository %.64q", name)
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, repo.ID)
	}
	return ids, nil
}

// MemberNames turns ids of repositories into names, leaving out what is gone.
func (r *Registry) MemberNames(ids []string) []string {
	s := r.current.Load()
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		if repo, ok := s.repositories[id]; ok {
			names = append(names, repo.Name)
		}
	}
	return names
}

// StoreID turns the name of a store into its id. Its FieldError names field.
func (r *Registry) StoreID(ctx context.Context, field, name string) (string, error) {
	s, err := r.Store(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return "", invalid(field, "there is no store %.64q", name)
	}
	if err != nil {
		return "", err
	}
	return s.ID, nil
}

// StoreName turns the id of a store into its name, "" if it is gone.
func (r *Registry) StoreName(id string) string {
	if s, ok := r.StoreByID(id); ok {
		return s.Name
	}
	return ""
}

func notFound(what, name string) error { return fmt.Errorf("%s %.64q: %w", what, name, ErrNotFound) }

// changed makes a change hold everywhere. It is done also for a caller that
// has gone away: the change has been made.
func (r *Registry) changed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	r.mu.Lock()
	notify := r.notify
	r.mu.Unlock()
	if notify == nil {
		return r.Load(ctx)
	}
	if err := notify(ctx); err != nil {
		return fmt.Errorf("tell all nodes of a change of configuration: %w", err)
	}
	return nil
}
