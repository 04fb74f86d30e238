package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"granary/audit"
	"granary/auth"
	"granary/blob/s3"
	"granary/cluster"
	"granary/cluster/task"
	"granary/events"
	"granary/formats"
	"granary/formats/all"
	"granary/gc"
	"granary/httpapi"
	"granary/httpapi/origin"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/upstream"
	"granary/webhook"
)

// node is the object graph of a running server below its HTTP surface.
type node struct {
	config   *Config
	log      *slog.Logger
	out      *outlook
	opened   database // the key-value store itself
	kv       database // with its meter
	formats  []formats.Format
	registry *config.Registry
	auth     *auth.Service
	audit    *audit.Log
	member   *cluster.Node
	records  *record.Store
	upstream *upstream.Client
	repos    *repo.Service
	parts    *s3.Memory
	tasks    *task.Service

	collector   gc.Task
	instruments *instruments
	origin      *origin.Policy
	feed        *events.Feed
	hooks       *webhook.Sender
	first       auth.FirstStart

	stop context.CancelFunc // of background work
	work sync.WaitGroup
}

// startNode opens the stores, joins the cluster and prepares a first start.
func startNode(ctx context.Context, c *Config, out *outlook) (*node, error) {
	n := &node{config: c, log: out.log, out: out, parts: s3.NewMemory(c.PartMemory), stop: func() {}}
	err := n.open(ctx)
	if err == nil {
		err = n.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, n.close(context.WithoutCancel(ctx)))
	}
	n.background()
	return n, nil
}

func (n *node) open(ctx context.Context) (err error) {
	if n.origin, err = origin.New(n.config.ExternalURL, n.config.TrustedProxies); err != nil {
		return err
	}
	sealer, err := n.sealer()
	if err != nil {
		return err
	}
	n.instruments = n.newInstruments()
	if n.opened, err = openKV(ctx, n.config, n.log, n.instruments.kv.Compacted); err != nil {
		return err
	}
	n.kv = n.instruments.meter(n.opened, n.out.traces)
	n.feed = events.New(events.Config{
		Every:  func() time.Duration { return time.Duration(n.registry.Settings().StateScanInterval) * time.Millisecond },
		Failed: func(err error) { n.log.Warn("look for changes to tell", "error", err) }, Now: wallClock,
	})
	embedded := kv.TraitsOf(n.kv).Embedded
	n.formats = all.Formats(wallClock)
	n.registry = config.Open(config.Options{
		KV: n.kv, Formats: names(n.formats), Now: wallClock, Sealer: sealer, Embedded: embedded, Probe: probe, Log: n.log,
	})
	changed := func(ctx context.Context) error { return n.member.Changed(ctx) }
	if err := n.openUpstream(); err != nil {
		return err
	}
	n.auth, err = auth.Open(auth.Options{
		KV: n.kv, Now: wallClock, Notify: changed, Sealer: authSealer(sealer), Peer: n.origin.Client,
		Expiry:        func() time.Duration { return time.Duration(n.registry.Settings().JWTExpiry) * time.Second },
		AdminPassword: auth.Secret(n.config.AdminPassword), Log: n.log, Issuers: n.upstream.Asker(issuerTime),
	})
	if err != nil {
		return err
	}
	n.member, err = cluster.Join(ctx, cluster.Config{
		KV: n.kv, Version: version, Embedded: embedded, Now: wallClock, Log: n.log,
		Beat: n.config.Cluster.Beat, Dead: n.config.Cluster.Dead, NewID: n.out.nodeIDs(),
		Load: func(ctx context.Context) error {
			defer n.feed.Poke()
			return errors.Join(n.registry.Load(ctx), n.auth.Load(ctx))
		},
	})
	if err != nil {
		return err
	}
	n.audit = audit.New(audit.Config{
		KV: n.kv, Node: n.member.ID(), Now: wallClock, Log: n.log,
		Keep: func() time.Duration { return time.Duration(n.registry.Settings().AuditDays()) * 24 * time.Hour },
	})
	n.registry.SetNotifier(changed)
	return n.openRepositories(embedded)
}

// openUpstream makes what asks other servers.
func (n *node) openUpstream() error {
	deny, err := prefixes("upstream.deny", n.config.Upstream.Deny)
	if err != nil {
		return err
	}
	allow, err := prefixes("upstream.allow", n.config.Upstream.Allow)
	if err != nil {
		return err
	}
	shown := &httpapi.Outgoing{Traces: n.out.traces, RequestLog: n.out.requests, Settings: n.registry.Settings}
	n.upstream = upstream.New(upstream.Config{Deny: deny, Allow: allow, Now: wallClock, UserAgent: "granary/" + version, Sends: shown.Sends})
	return nil
}

// issuerTime bounds a question to an identity provider.
const issuerTime = 10 * time.Second

func (n *node) openRepositories(embedded bool) error {
	n.records = record.New(record.Config{Observer: n.instruments.background, KV: n.kv, Now: wallClock, Node: n.member.ID(), Log: n.log})
	c := repo.Config{
		KV: n.kv, Registry: n.registry, Formats: n.formats, Records: n.records, Upstream: n.upstream,
		Refs:      refs.New(refs.Config{KV: n.kv, Now: wallClock, Grace: n.grace}),
		OpenStore: n.openStore, Now: wallClock, Log: n.log, Committed: n.committed, Observer: n.instruments.repositories,
	}
	hooks := webhook.Config{KV: n.kv, Registry: n.registry, Post: n.upstream.Post, Feed: n.feed, Now: wallClock, Log: n.log}
	if !embedded {
		hooks.Leases = n.member
	}
	n.hooks = webhook.New(hooks)
	if !embedded {
		c.Leases, c.Writable = n.member, n.member.WriteReady
	}
	var err error
	if n.repos, err = repo.New(c); err != nil {
		return err
	}
	return n.openTasks()
}

// committed is told of what clients have written here.
func (n *node) committed(c repo.Commit) {
	n.feed.Touch(c.Repository.Name)
	n.hooks.Committed(c)
}

// grace is the least time between the end of a round of the collector and the
// next one's mark.
func (n *node) grace() time.Duration {
	return time.Duration(n.registry.Settings().GCGrace) * time.Second
}

// prepare makes on a first start what every server has, and what the
// configuration lists. A first start that was cut off, or refused, is taken up
// again by the next one.
func (n *node) prepare(ctx context.Context) (err error) {
	if kv.TraitsOf(n.kv).Embedded {
		if err := n.followData(ctx); err != nil {
			return err
		}
	}
	fresh := len(n.registry.Stores()) == 0 && len(n.registry.Repositories()) == 0
	first := firstStart{n.kv}
	if fresh {
		err = first.begin(ctx)
	} else {
		fresh, err = first.begun(ctx)
	}
	if err != nil {
		return err
	}
	if n.first, err = n.auth.Bootstrap(ctx); err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	d := n.config.firstDocument()
	if kv.TraitsOf(n.kv).Embedded && !hasStore(d, defaultStore) {
		if err := n.makeDefaultStore(ctx); err != nil {
			return err
		}
	}
	if err := n.initialize(ctx, d); err != nil {
		return err
	}
	return first.end(ctx)
}

const defaultStore = "default"

func (n *node) makeDefaultStore(ctx context.Context) error {
	root, err := filepath.Abs(filepath.Join(n.config.Data, "blobs"))
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if err := noBlobs(root); err != nil {
		return err
	}
	_, err = n.registry.CreateStore(ctx, defaultStore, func(s *config.Store) error {
		s.Type, s.Root, s.Sync, s.IOSize = config.File, root, true, 1024
		return nil
	})
	if err != nil && !errors.Is(err, config.ErrExists) {
		return fmt.Errorf("create the store %s: %w", defaultStore, err)
	}
	return nil
}

// background runs what a node does by itself until close.
func (n *node) background() {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.work.Go(func() { n.records.Run(ctx) })
	n.work.Go(func() { n.feed.Run(ctx) })
	n.work.Go(func() { n.hooks.Run(ctx) })
	n.work.Go(func() { n.tasks.Run(ctx) })
	n.work.Go(func() { n.rotateKeys(ctx) })
	n.work.Go(func() { n.audit.Run(ctx) })
	n.work.Go(func() { n.out.follow(ctx, n.registry.Settings) })
	n.work.Go(func() {
		n.auth.Run(ctx, func(err error) { n.log.Warn("keep API tokens", "error", err) })
	})
	if s, ok := n.opened.(expirer); ok {
		n.work.Go(func() { n.dropExpired(ctx, s) })
	}
}

// expirer is a store that gives the space of expired items back only when it
// is told to.
type expirer interface {
	DropExpired(ctx context.Context, partitionPrefix string) (int, error)
}

// dropEvery is how often that happens.
const dropEvery = time.Hour

func (n *node) dropExpired(ctx context.Context, s expirer) {
	tick := time.NewTicker(dropEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, prefix := range kv.Expiring {
			if _, err := s.DropExpired(ctx, prefix); err != nil && ctx.Err() == nil {
				n.log.Warn("give back the space of expired items", "error", err)
			}
		}
	}
}

// rotateKeys renews the signing key when it is old enough; whichever node comes
// first does it.
func (n *node) rotateKeys(ctx context.Context) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		interval := time.Duration(n.registry.Settings().JWTRotationInterval) * time.Second
		if _, err := n.auth.Rotate(ctx, interval); err != nil && ctx.Err() == nil {
			n.log.Warn("rotate the signing key", "error", err)
		}
	}
}

// close ends background work and closes what was opened, in the other order.
func (n *node) close(ctx context.Context) error {
	var errs []error
	n.stop()
	n.work.Wait() // tasks use the repositories
	if n.repos != nil {
		errs = append(errs, n.repos.Close(ctx))
	}
	if n.records != nil {
		errs = append(errs, n.records.Close(ctx))
	}
	if n.upstream != nil {
		n.upstream.Close()
	}
	if n.member != nil {
		errs = append(errs, n.member.Close(ctx))
	}
	if n.kv != nil {
		errs = append(errs, n.kv.Close())
	}
	return errors.Join(errs...)
}

func (n *node) sealer() (config.Sealer, error) {
	if n.config.SecretKey == "" {
		n.log.Warn("secret_key is not set: secrets such as upstream passwords are stored as they are")
		return nil, nil //nolint:nilnil // no sealer is a valid choice
	}
	return config.NewSealer(n.config.SecretKey, n.config.PreviousSecretKeys...)
}

// authSealer keeps a nil of one interface a nil of the other.
func authSealer(s config.Sealer) auth.Sealer {
	if s == nil {
		return nil
	}
	return s
}

func names(list []formats.Format) []string {
	var out []string
	for _, f := range list {
		out = append(out, f.Name())
	}
	return out
}
