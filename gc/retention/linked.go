package retention

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"time"

	"granary/formats"
	"granary/repo/record"
)

// youth is how old a record that nothing keeps must be before it goes: clients
// send what an image is made of before its name.
const youth = 24 * time.Hour

// linked plans for a format whose records need each other: those that live by
// themselves are judged as versions, and what stays of them keeps the others.
func (p *plan) linked(ctx context.Context, k keeper) error {
	g := &graph{plan: p, keeper: k, seed: maphash.MakeSeed(), kept: map[uint64]struct{}{}}
	p.graph = g
	rooted := func(n record.Named) bool { return k.Rooted(n.Record.Public(n.Scope, n.Name)) }
	found := p.found
	p.found = func(it Item) error {
		if it.Drop {
			return found(it)
		}
		if err := g.keep(ctx, it.Named); err != nil {
			return err
		}
		return found(it)
	}
	judge := p.scope
	if !p.rules.drops() {
		judge = func(_ context.Context, scope string, recs []record.Named) error {
			for _, n := range recs {
				if err := p.found(p.item(n, scope, p.version(n), false, "nothing says that it is to go")); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err := p.scopes(ctx, rooted, judge); err != nil {
		return err
	}
	p.found = found
	if !p.rules.Untagged {
		return nil
	}
	return p.scopes(ctx, func(n record.Named) bool { return !rooted(n) }, func(ctx context.Context, scope string, recs []record.Named) error {
		for _, n := range recs {
			drop, reason := g.judge(n)
			it := p.item(n, scope, p.version(n), drop, reason)
			it.linked = true
			if err := p.found(it); err != nil {
				return err
			}
		}
		return nil
	})
}

// graph is what is kept. Keys are remembered by their hash: two that share one
// are both kept.
type graph struct {
	*plan
	keeper keeper
	seed   maphash.Seed
	kept   map[uint64]struct{}
}

func (g *graph) hash(key string) uint64 { return maphash.String(g.seed, key) }

func (g *graph) has(key string) bool {
	_, ok := g.kept[g.hash(key)]
	return ok
}

func (g *graph) judge(n record.Named) (drop bool, reason string) {
	switch key := formats.Join(n.Scope, n.Name); {
	case g.has(key) || g.has(n.Scope+"/"):
		return false, "something that stays needs it"
	case g.began.Sub(time.Unix(0, n.Record.Since)) < youth:
		return false, "nothing needs it, but it is less than a day old"
	}
	return true, "nothing needs it"
}

// keep marks what a record keeps, to any depth.
func (g *graph) keep(ctx context.Context, n record.Named) error {
	todo := []record.Named{n}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		open := func(ctx context.Context) (io.ReadCloser, error) {
			rec, _, err := g.Records.Get(ctx, g.sp, n.Scope, n.Name, record.Latest)
			if err != nil {
				return nil, err
			}
			return g.Repositories.OpenRecord(ctx, rec)
		}
		for key, err := range g.keeper.Keeps(ctx, n.Record.Public(n.Scope, n.Name), open) {
			if err != nil {
				return fmt.Errorf("what %s/%s keeps is not known, so that nothing may go: %w", n.Scope, n.Name, err)
			}
			if g.has(key) {
				continue
			}
			g.kept[g.hash(key)] = struct{}{}
			next, err := g.records(ctx, key)
			if err != nil {
				return err
			}
			todo = append(todo, next...)
		}
	}
	return nil
}

// records are those that a key stands for: one, or all of a scope. Where in the
// key a scope ends is not known, so that each place is tried.
func (g *graph) records(ctx context.Context, key string) ([]record.Named, error) {
	var out []record.Named
	if scope, ok := strings.CutSuffix(key, "/"); ok {
		for n, err := range g.Records.Scope(ctx, g.sp, scope, record.Consistent) {
			if err != nil {
				return nil, err
			}
			n.Record.Inline = nil
			g.kept[g.hash(formats.Join(n.Scope, n.Name))] = struct{}{}
			out = append(out, n)
		}
		return out, nil
	}
	n, ok, err := g.find(ctx, key)
	if err != nil || !ok {
		return nil, err
	}
	return []record.Named{n}, nil
}

func (g *graph) find(ctx context.Context, key string) (record.Named, bool, error) {
	for i := len(key); ; {
		i = strings.LastIndexByte(key[:i], '/')
		scope, name := key[:max(i, 0)], key[i+1:]
		rec, version, err := g.Records.Get(ctx, g.sp, scope, name, record.Latest)
		if err == nil {
			rec.Inline = nil
			return record.Named{Scope: scope, Name: name, Version: version, Record: rec}, true, nil
		}
		if !errors.Is(err, formats.ErrNotFound) {
			return record.Named{}, false, err
		}
		if i < 0 {
			return record.Named{}, false, nil
		}
	}
}

// again marks what the records keep that were written since a time, for those
// that came while the others were looked at.
func (g *graph) again(ctx context.Context, since time.Time) error {
	fresh := func(n record.Named) bool {
		return n.Record.Since >= since.UnixNano() && g.keeper.Rooted(n.Record.Public(n.Scope, n.Name))
	}
	return g.scopes(ctx, fresh, func(ctx context.Context, _ string, recs []record.Named) error {
		for _, n := range recs {
			if err := g.keep(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
}
