package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"

	"granary/kv"
)

// Options of a [Service]. Only KV is required.
type Options struct {
	KV     kv.Store
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand; read by several goroutines
	// Notify is called after each change with the change in force here, and
	// returns when all nodes have loaded it. nil: this node is alone.
	Notify func(context.Context) error
	// Sealer encrypts secrets at rest. nil: they are stored in the clear.
	Sealer Sealer
	// Peer returns the address that lock-out goes by. nil: the host of
	// RemoteAddr.
	Peer func(*http.Request) string
	// Expiry is asked for the life of each new token. nil: a day.
	Expiry func() time.Duration
	// AdminPassword is given to the user admin on the first start; "": one is
	// generated. Later starts leave the user as it is.
	AdminPassword Secret
	// Issuers asks OpenID Connect issuers, and guards which addresses it asks.
	// nil: http.DefaultClient.
	Issuers *http.Client
	// Log is told why the directory or a provider could not be asked. nil:
	// nobody is.
	Log *slog.Logger
	// Cost of passwords hashed from now on; zero: [DefaultCost].
	Cost Cost
	// Parallel is how many passwords are hashed at once, each in Cost.Memory.
	// 0: 2.
	Parallel int
}

// Service answers who asks and keeps users and roles. All methods may be
// called concurrently.
type Service struct {
	kv            kv.Store
	now           func() time.Time
	random        io.Reader
	notify        func(context.Context) error
	sealer        Sealer
	peer          func(*http.Request) string
	expiry        func() time.Duration
	adminPassword Secret

	parser   *jwt.Parser
	nobody   key // stands for the secret of users that don't exist
	hasher   *hasher
	verified *verified[struct{}] // passwords, with the version of the user's record
	tokens   *verified[proof]    // sessions
	uses     *uses               // of API tokens
	checks   singleflight.Group  // of passwords, by fingerprint
	lockout  *lockout
	asking   chan struct{} // holds one element per question to the directory
	// finishing holds one element per log-in that the provider is asked about.
	finishing chan struct{}
	log       *slog.Logger

	providers *providers

	loaded    atomic.Pointer[snapshot]
	loading   sync.Mutex // held while loaded is being replaced
	reloading sync.Mutex // protects reloaded
	reloaded  time.Time  // when an unknown key id last caused a load
}

// Open returns a service that knows nobody yet: call Load, or Bootstrap, which
// loads.
func Open(o Options) (*Service, error) {
	if o.KV == nil {
		return nil, errors.New("auth: no key-value store")
	}
	s := &Service{
		kv: o.KV, now: o.Now, random: o.Random, notify: o.Notify, sealer: o.Sealer,
		peer: o.Peer, expiry: o.Expiry, adminPassword: o.AdminPassword,
		log: o.Log, asking: make(chan struct{}, atDirectoryOnce), finishing: make(chan struct{}, atProviderOnce),
	}
	if o.Issuers == nil {
		o.Issuers = http.DefaultClient
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if s.peer == nil {
		s.peer = remoteHost
	}
	if s.expiry == nil {
		s.expiry = func() time.Duration { return defaultExpiry }
	}
	if o.Cost == (Cost{}) {
		o.Cost = DefaultCost
	}
	if o.Parallel <= 0 {
		o.Parallel = 2
	}
	if err := s.prepare(o); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return s, nil
}

func (s *Service) prepare(o Options) (err error) {
	if s.nobody, err = newSecret(s.random, secretSize); err != nil {
		return err
	}
	if s.hasher, err = newHasher(o.Cost, o.Parallel, s.random); err != nil {
		return err
	}
	if s.verified, err = newVerified[struct{}](s.now, s.random); err != nil {
		return err
	}
	if s.tokens, err = newVerified[proof](s.now, s.random); err != nil {
		return err
	}
	s.parser = newParser(s.now)
	s.lockout = newLockout(s.now)
	s.uses = newUses(s.now)
	s.providers = newProviders(o.Issuers, s.now)
	s.loaded.Store(&snapshot{})
	return nil
}

func remoteHost(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

func (s *Service) snapshot() *snapshot { return s.loaded.Load() }

// changed brings a change that was written into force, here and everywhere.
func (s *Service) changed(ctx context.Context) error {
	if err := s.Load(ctx); err != nil {
		return fmt.Errorf("stored, but not loaded: %w", err)
	}
	if s.notify == nil {
		return nil
	}
	if err := s.notify(ctx); err != nil {
		return fmt.Errorf("stored, but perhaps not in force on every node: %w", err)
	}
	return nil
}
