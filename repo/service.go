package repo

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"granary/blob"
	"granary/formats"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/sessions"
	"granary/repo/upstream"
)

// Registry is what the service asks of the configuration.
type Registry interface {
	Repository(ctx context.Context, name string) (*config.Repository, error)
	RepositoryByID(id string) (*config.Repository, bool)
	// Stored reads a repository consistently.
	Stored(ctx context.Context, id string) (*config.Repository, error)
	StoreByID(id string) (*config.Store, bool)
	Settings() *config.Settings
	// SuspectStore says that bytes of a store are lost.
	SuspectStore(ctx context.Context, id string) error
	// What follows keeps the keys that repositories sign with; see
	// [config.Registry].
	Signing(ctx context.Context, repositoryID string) (*config.Signing, error)
	SigningLoaded(repositoryID string) *config.Signing
	CreateSigning(ctx context.Context, repositoryID string, s *config.Signing) (*config.Signing, error)
	UpdateSigning(ctx context.Context, repositoryID string, change func(*config.Signing) error) (*config.Signing, error)
}

// Leaser gives a name to one node at a time. release ends the lease.
type Leaser interface {
	Lease(ctx context.Context, name string, ttl time.Duration) (release func(), err error)
}

// Config is what a Service is made of.
type Config struct {
	KV       kv.Store
	Registry Registry
	Formats  []formats.Format
	Records  *record.Store
	Refs     *refs.Keeper
	Upstream *upstream.Client
	// OpenStore opens a configured blob store; it is called once per store and
	// change of its configuration.
	OpenStore func(ctx context.Context, s *config.Store) (blob.Store, error)
	// Leases keeps nodes from filling the same object at once. Optional: a
	// single node needs none.
	Leases Leaser
	// Committed is told of each commit, and must not wait. Optional.
	Committed func(Commit)
	// Observer is told of uploads and of what caches do. Optional.
	Observer Observer
	// Writable tells why this node must take no writes now, nil if it may.
	// Optional.
	Writable func() error
	Now      func() time.Time // optional
	// Wait waits until Now is later than t. Optional.
	Wait   func(ctx context.Context, t time.Time) error
	Random io.Reader    // optional; for blob ids
	Log    *slog.Logger // optional
	// CacheBytes bounds the memory for documents, 0 is 16 MiB.
	CacheBytes int64
}

// Service answers for all repositories. It is used concurrently.
type Service struct {
	Config
	formats map[string]formats.Format
	inline  int64
	memory  *blob.Budget
	ledgers ledgers
	ids     *blob.Source
	pubs    *publications
	fills   fills
	docs    documents
	ages    *otter.Cache[string, time.Time]  // of releases at upstreams, by repository and release
	names   *otter.Cache[string, knownNames] // of packages, by repository and scope
	sound   *soundness
	uploads *sessions.Store
	rings   rings
	pasts   pasts

	ctx    context.Context //nolint:containedctx // the life of background work, ended by Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	opening sync.Mutex // held while a store is being opened; before mu

	mu     sync.Mutex
	repos  map[string]*repository  // by id; guarded by mu
	stores map[string]*openedStore // by id; guarded by mu
}

type openedStore struct {
	config *config.Store
	store  blob.Store
}

// New makes a service; Close ends its background work.
func New(c Config) (*Service, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == nil {
		c.Wait = waitUntil(c.Now)
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.Writable == nil {
		c.Writable = func() error { return nil }
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 16 << 20
	}
	s := &Service{
		Config: c, formats: map[string]formats.Format{}, inline: int64(kv.TraitsOf(c.KV).Inline), memory: blob.NewBudget(bodyMemory), ledgers: newLedgers(),
		ids:   blob.NewSource(c.Now, c.Random),
		repos: map[string]*repository{}, stores: map[string]*openedStore{}, pasts: newPasts(), sound: newSoundness(),
	}
	for _, f := range c.Formats {
		if _, twice := s.formats[f.Name()]; twice {
			return nil, fmt.Errorf("format %s is registered twice", f.Name())
		}
		s.formats[f.Name()] = f
	}
	pubs, err := newPublications(s)
	if err != nil {
		return nil, err
	}
	s.pubs = pubs
	if s.ages, err = otter.New(&otter.Options[string, time.Time]{MaximumSize: maxAges}); err != nil {
		return nil, fmt.Errorf("make the cache of ages: %w", err)
	}
	s.names, err = otter.New(&otter.Options[string, knownNames]{MaximumWeight: maxKnown, Weigher: func(_ string, k knownNames) uint32 { return k.weight() }})
	if err != nil {
		return nil, fmt.Errorf("make the cache of names: %w", err)
	}
	s.uploads = &sessions.Store{KV: c.KV, Now: c.Now}
	s.fills.running = map[string]*fill{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close ends background fills and revalidations and waits for them until ctx
// ends.
func (s *Service) Close(ctx context.Context) error {
	s.cancel()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for background work of repositories: %w", ctx.Err())
	}
}

// background runs f with the values of ctx but the life of the service: work
// that several requests share must not die with the first of them.
func (s *Service) background(ctx context.Context, f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(s.ctx, cancel)
	s.work.Go(func() {
		defer cancel()
		defer stop()
		f(ctx)
	})
}

// Store returns the blob store with an id, opened.
func (s *Service) Store(ctx context.Context, id string) (blob.Store, error) {
	c, ok := s.Registry.StoreByID(id)
	if !ok {
		return nil, fmt.Errorf("store %s: %w", id, formats.ErrNotFound)
	}
	s.mu.Lock()
	o := s.stores[id]
	s.mu.Unlock()
	if o != nil && o.config == c {
		return o.store, nil
	}
	return s.open(ctx, c)
}

// open opens a store once, however many requests come first.
func (s *Service) open(ctx context.Context, c *config.Store) (blob.Store, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.Lock()
	o := s.stores[c.ID]
	s.mu.Unlock()
	if o != nil && o.config == c {
		return o.store, nil
	}
	bs, err := s.OpenStore(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", c.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stores[c.ID] = &openedStore{c, bs}
	return bs, nil
}

// Usage returns the number of artifacts of a repository and their bytes, an
// estimate that follows writes within about a second.
func (s *Service) Usage(ctx context.Context, repositoryID string) (count, bytes int64, err error) {
	return s.Records.Usage(ctx, repositoryID)
}

// Access says whether the caller has a right on a repository.
type Access func(verb formats.Verb, repository string) bool

// Everything is the Access of the server itself.
func Everything(formats.Verb, string) bool { return true }

// Open returns a repository as the caller sees it; the right on the repository
// itself has been checked, access is asked about the members of a group.
// formats.ErrNotFound if there is none of the name.
func (s *Service) Open(ctx context.Context, name string, access Access) (*Handle, error) {
	c, err := s.configured(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.handle(c, access, nil)
}

func (s *Service) handle(c *config.Repository, access Access, m *moment) (*Handle, error) {
	r, err := s.repository(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(r, access, m, 0)
	if err != nil {
		return nil, err
	}
	return &Handle{Config: c, Format: r.format, service: s, repo: r, view: v, access: access, moment: m}, nil
}

// maxDepth is how deep groups may be nested.
const maxDepth = 8

func (s *Service) view(r *repository, access Access, m *moment, depth int) (view, error) {
	switch r.Type {
	case config.Hosted:
		return &hosted{service: s, repo: r, moment: m}, nil
	case config.Cache:
		return &cache{hosted: hosted{service: s, repo: r, moment: m}}, nil
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("%w: group %s is nested deeper than %d", formats.ErrBadRequest, r.Name, maxDepth)
	}
	g := &group{service: s, repo: r, moment: m}
	for _, id := range m.members(r.Repository) {
		c, ok := s.Registry.RepositoryByID(id)
		if !ok || !access(formats.VerbRead, c.Name) {
			continue
		}
		member, err := s.repository(c)
		if err != nil {
			return nil, err
		}
		v, err := s.view(member, access, m, depth+1)
		if err != nil {
			return nil, err
		}
		g.members = append(g.members, v)
	}
	if depth == 0 {
		for i, t := range g.targets() {
			t.base().behind = i > 0
		}
		if claims := s.newClaims(r); claims != nil {
			for _, t := range g.targets() {
				if c, ok := t.(*cache); ok {
					c.claims = claims
				}
			}
		}
	}
	return g, nil
}
