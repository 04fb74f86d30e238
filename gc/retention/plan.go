package retention

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

// Repositories is what the planner asks of them; [repo.Service] is one.
type Repositories interface {
	Format(name string) (formats.Format, bool)
	OpenRecord(ctx context.Context, rec record.Record) (io.ReadCloser, error)
	RemoveRecord(ctx context.Context, c *config.Repository, n record.Named, before time.Time) (bool, error)
	RestoreRecord(ctx context.Context, c *config.Repository, n record.Named) error
}

// Planner plans for all repositories. It is used concurrently.
type Planner struct {
	Repositories Repositories
	Records      *record.Store
	Now          func() time.Time
}

// Item is a record with what becomes of it.
type Item struct {
	record.Named
	Path    string // as clients see it
	Package string
	Version string
	Drop    bool
	Reason  string

	linked bool // it does not live by itself
}

// version is what is judged as one.
type version struct {
	name      string
	records   []record.Named
	published time.Time // the newest record
	used      time.Time
	drop      bool
	reason    string
}

// keeper is implemented by formats in which one record needs others.
type keeper interface {
	// Keeps yields the keys ([formats.Record].Key) that live because rec does; a
	// key that ends in a slash stands for all records of that scope.
	Keeps(ctx context.Context, rec formats.Record, open func(ctx context.Context) (io.ReadCloser, error)) iter.Seq2[string, error]
	// Rooted tells whether a record lives by itself.
	Rooted(rec formats.Record) bool
}

// Plan calls found for each record of a repository that rules speak of, those
// that stay and those that are to go, and ends with its error. Scopes are judged
// one by one: what is held in memory is one of them and, for a format whose
// records need each other, eight bytes and some for each record that is kept.
func (p *Planner) Plan(ctx context.Context, c *config.Repository, r Rules, found func(Item) error) error {
	plan, err := p.plan(c, r)
	if err != nil {
		return err
	}
	return plan.run(ctx, found)
}

func (p *Planner) plan(c *config.Repository, r Rules) (*plan, error) {
	f, ok := p.Repositories.Format(c.Format)
	if !ok {
		return nil, fmt.Errorf("%w: this server has no format %q", formats.ErrNotFound, c.Format)
	}
	return &plan{Planner: p, repo: c, sp: kv.Space{Repo: c.ID, Shards: c.Shards}, rules: r, format: f, began: p.Now()}, nil
}

func (p *plan) run(ctx context.Context, found func(Item) error) error {
	p.found = found
	if k, ok := p.format.(keeper); ok {
		return p.linked(ctx, k)
	}
	if !p.rules.drops() {
		return nil
	}
	return p.scopes(ctx, func(record.Named) bool { return true }, p.scope)
}

// plan is one run.
type plan struct {
	*Planner
	repo   *config.Repository
	sp     kv.Space
	rules  Rules
	format formats.Format
	began  time.Time
	found  func(Item) error
	graph  *graph // of a format whose records need each other
}

// scopes calls f with the records of each scope that are wanted.
func (p *plan) scopes(ctx context.Context, want func(record.Named) bool, f func(ctx context.Context, scope string, recs []record.Named) error) error {
	for shard := range max(1, p.repo.Shards) {
		var recs []record.Named
		flush := func() error {
			if len(recs) == 0 {
				return nil
			}
			err := f(ctx, recs[0].Scope, recs)
			recs = recs[:0]
			return err
		}
		for n, err := range p.Records.Shard(ctx, p.sp, shard, "", record.Consistent) {
			if err != nil {
				return fmt.Errorf("plan the retention of %s: %w", p.repo.Name, err)
			}
			if len(recs) > 0 && recs[0].Scope != n.Scope {
				if err := flush(); err != nil {
					return err
				}
			}
			if !want(n) {
				continue
			}
			// The bytes are not looked at, and would be most of a scope.
			n.Record.Inline = nil
			recs = append(recs, n)
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

// scope judges the versions in one, package by package.
func (p *plan) scope(ctx context.Context, scope string, recs []record.Named) error {
	v, ok := p.format.(formats.Versioner)
	if !ok {
		return p.pkg(ctx, scope, recs)
	}
	packages := map[string][]record.Named{}
	for _, n := range recs {
		name := v.Package(n.Record.Public(n.Scope, n.Name))
		packages[name] = append(packages[name], n)
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if err := p.pkg(ctx, name, packages[name]); err != nil {
			return err
		}
	}
	return nil
}

// pkg judges the versions of one package.
func (p *plan) pkg(ctx context.Context, pkg string, recs []record.Named) error {
	versions, err := p.versions(ctx, recs)
	if err != nil {
		return err
	}
	p.rules.judge(pkg, versions, p.began)
	for _, v := range versions {
		for _, n := range v.records {
			if err := p.found(p.item(n, pkg, v.name, v.drop, v.reason)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *plan) item(n record.Named, pkg, version string, drop bool, reason string) Item {
	at := n.Record.Path
	if at == "" {
		at = formats.Join(n.Scope, n.Name)
	}
	return Item{Named: n, Path: at, Package: pkg, Version: version, Drop: drop, Reason: reason}
}

// versions groups the records of a scope, the newest first. What has no bytes
// of its own goes with what it points to and is not judged.
func (p *plan) versions(ctx context.Context, recs []record.Named) ([]*version, error) {
	byName := map[string]*version{}
	var out []*version
	for _, n := range recs {
		if n.Record.Hidden(n.Name) {
			continue
		}
		name := p.version(n)
		v := byName[name]
		if v == nil {
			v = &version{name: name}
			byName[name] = v
			out = append(out, v)
		}
		v.records = append(v.records, n)
		if t := time.Unix(0, n.Record.Updated); t.After(v.published) {
			v.published = t
		}
		if p.rules.MaxUnaccessed == 0 {
			continue
		}
		used, err := p.used(ctx, n)
		if err != nil {
			return nil, err
		}
		if used.After(v.used) {
			v.used = used
		}
	}
	slices.SortStableFunc(out, func(a, b *version) int { return b.published.Compare(a.published) })
	return out, nil
}

// used is when a record was last read, else published. Accesses are kept by the
// day: the end of it counts.
func (p *plan) used(ctx context.Context, n record.Named) (time.Time, error) {
	at, err := p.Records.LastAccess(ctx, p.sp, n.Scope, n.Name)
	if err != nil {
		return time.Time{}, err
	}
	if published := time.Unix(0, n.Record.Updated); at.IsZero() || published.After(at.Add(day)) {
		return published, nil
	}
	return at.Add(day), nil
}

// version is that of a record: what the format says, else what distinguishes
// it in its scope, a folder or the file itself.
func (p *plan) version(n record.Named) string {
	if v, ok := p.format.(formats.Versioner); ok {
		return v.Version(n.Record.Public(n.Scope, n.Name))
	}
	first, _, _ := strings.Cut(path.Clean(n.Name), "/")
	return first
}
