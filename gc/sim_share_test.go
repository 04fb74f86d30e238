package gc_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo"
)

// promoted is a promotion that is not over.
type promoted struct {
	repo.Promotion
	cursor string // saved; guarded by the world's mu
	moves  []promotedPath
	move   bool // the sources go when it is over
	back   bool // it is taken back; guarded by the world's mu
}

type promotedPath struct {
	from, to      *truth
	before, after []int // contents of to
}

func (n *node) pending() *promoted {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.promoted[n.client]
}

// promote copies one or two paths to another repository, as a task would.
func (n *node) promote(ctx context.Context) {
	source, target, first := n.either(), n.either(), n.roll(simPaths)
	if source == target {
		return
	}
	p := &promoted{Promotion: repo.Promotion{ID: n.newID(), Source: n.repos[source].ID, Target: n.repos[target].ID}, move: n.roll(2) == 0}
	for i := range 1 + n.roll(2) {
		k := (first + i) % simPaths
		m := promotedPath{from: n.own(n.client, source, k), to: n.own(n.client, target, k)}
		m.before, m.after = n.possible(m.to), slices.DeleteFunc(n.possible(m.from), func(c int) bool { return c == gone })
		if len(m.after) == 0 && n.roll(8) != 0 {
			continue // there is nothing, which is tried seldom
		}
		n.maybe(m.to, m.after...)
		p.moves, p.Paths = append(p.moves, m), append(p.Paths, m.from.path)
	}
	if len(p.moves) == 0 {
		return
	}
	n.locked(func() { n.promoted[n.client] = p })
	n.settlePromotion(ctx, p) //nolint:errcheck // it is gone on with later
}

// settlePromotion goes on with a promotion until it is over or this node is; it
// may have been begun by an earlier one. Another node may be at it still, which
// has lost it and finds out at its next save.
func (n *node) settlePromotion(ctx context.Context, p *promoted) error {
	cursor, back := "", false
	n.locked(func() { cursor, back = p.cursor, p.back })
	if o := n.other(n.client); o != nil && n.roll(3) == 0 {
		o.work.Go(func() {
			o.service.Promote(o.plant.moving(o.ctx), p.Promotion, cursor, func(string, repo.Copied) error { return errDead }) //nolint:errcheck // nobody waits
		})
		n.nap(ctx, time.Second)
	}
	if back || cursor != "tell" && n.roll(8) == 0 {
		return n.abandon(ctx, p)
	}
	err := n.service.Promote(n.plant.moving(ctx), p.Promotion, cursor, func(next string, _ repo.Copied) error {
		n.locked(func() { p.cursor = next })
		return n.alive()
	})
	switch {
	case err == nil:
		for _, m := range p.moves {
			n.surely(m.to, m.after...)
		}
		n.locked(func() { delete(n.promoted, n.client) })
		n.count("promotion")
		n.checkAll(ctx, p)
		for _, m := range p.moves {
			if p.move {
				n.del(ctx, m.from)
			}
		}
	case errors.Is(err, formats.ErrCorrupt):
		n.fail("promote %v: %v", p.Paths, err)
		return n.abandon(ctx, p)
	case errors.Is(err, formats.ErrNotFound):
		return n.abandon(ctx, p)
	}
	return err
}

// abandon takes a promotion back, unless it was committed.
func (n *node) abandon(ctx context.Context, p *promoted) error {
	n.locked(func() { p.back = true })
	if err := n.service.AbandonPromotion(ctx, p.Promotion); err != nil {
		return err
	}
	c := n.repos[p.moves[0].to.repo]
	made, err := n.records.Committed(ctx, kv.Space{Repo: c.ID, Shards: c.Shards}, p.ID)
	if err != nil {
		return err
	}
	for _, m := range p.moves {
		if made {
			n.surely(m.to, m.after...)
		} else {
			n.surely(m.to, m.before...)
		}
	}
	n.locked(func() { delete(n.promoted, n.client) })
	n.count("promotion taken back")
	n.checkAll(ctx, p)
	return nil
}

func (n *node) checkAll(ctx context.Context, p *promoted) {
	for _, m := range p.moves {
		n.check(ctx, m.to)
	}
}

// snapshot takes one of a repository.
func (n *node) snapshot(ctx context.Context) {
	repository := []string{simFirst, simSecond, simTarget, simLedger}[n.roll(4)]
	name := n.newID()
	x := n.watch(repository)
	_, err := n.service.Snapshot(ctx, repository, name, "")
	n.unwatch(x)
	if err != nil {
		return
	}
	n.locked(func() { n.pasts[repository+"@"+name] = x })
	n.count("snapshot")
}

// past picks a snapshot.
func (n *node) past() (at string, x *watch) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pasts) == 0 {
		return "", nil
	}
	var all []string
	for name := range n.pasts {
		all = append(all, name)
	}
	slices.Sort(all)
	at = all[n.rng.IntN(len(all))]
	return at, n.pasts[at]
}

// checkPast reads what a snapshot holds of some client.
func (n *node) checkPast(ctx context.Context) {
	if at, x := n.past(); x != nil {
		n.checkSnapshot(ctx, at, x, n.roll(simNodes))
	}
}

func (n *node) checkSnapshot(ctx context.Context, at string, x *watch, client int) {
	name := at[len(x.repo)+1:]
	if x.repo == simLedger {
		if _, err := n.send(ctx, x.repo, name, "all/nothing", http.MethodGet, nil); !n.taken(at) || err != nil && passing(err) {
			return
		}
		n.checkLedger(ctx, client, name, x.may)
		n.count("past document read")
		return
	}
	for k := range simPaths {
		tr := n.own(client, x.repo, k)
		path := tr.path
		got, err := n.send(ctx, x.repo, name, path, http.MethodGet, nil)
		if err != nil && passing(err) || !n.taken(at) {
			return
		}
		may := x.may[path]
		if may == nil {
			may = map[int]bool{gone: true}
		}
		if !held(may, got, errors.Is(err, formats.ErrNotFound)) || errors.Is(err, formats.ErrCorrupt) {
			n.fail("%s of %s: got %q, %v; it held %v; %v\n%v", path, at, got, err, may, tr.log, n.history(ctx, x.repo, path))
		}
		n.count("past read")
	}
}

// taken tells whether nobody has begun to remove a snapshot.
func (n *node) taken(at string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pasts[at] != nil
}

func (n *node) dropSnapshot(ctx context.Context) {
	at, x := n.past()
	if x == nil {
		return
	}
	n.locked(func() { delete(n.pasts, at) })
	n.service.DeleteSnapshot(ctx, x.repo, at[len(x.repo)+1:]) //nolint:errcheck // what stays is removed in the end
	n.count("snapshot removed")
}

// reconfigure makes a repository, uses it, renames it, and deletes it; or says
// how long history is kept.
func (n *node) reconfigure(ctx context.Context) {
	if n.roll(3) == 0 {
		n.keepHistory(ctx, n.either(), n.roll(2) == 0)
		return
	}
	name := "temporary-" + n.newID()
	if !n.makeRepository(ctx, name) {
		return
	}
	tr := &truth{repo: name, path: "d/f", may: map[int]bool{gone: true}}
	if n.put(ctx, tr, n.fresh()) {
		n.everywhere(ctx, tr)
	}
	if n.roll(2) == 0 {
		renamed := name + "-b"
		if _, err := n.reg.RenameRepository(ctx, name, renamed); err != nil {
			return // one of both names has it; in the end it goes
		}
		n.everywhere(ctx, &truth{repo: renamed, path: tr.path, may: tr.may})
		name = renamed
	}
	if _, err := n.reg.DeleteRepository(ctx, name); err != nil {
		return
	}
	n.count("repository deleted")
	n.everywhere(ctx, &truth{repo: name, path: tr.path, may: map[int]bool{gone: true}})
}

// everywhere checks a path from here and from another node.
func (n *node) everywhere(ctx context.Context, tr *truth) {
	n.check(ctx, tr)
	if o := n.other(n.client); o != nil {
		o.check(ctx, tr)
	}
}

func (n *node) keepHistory(ctx context.Context, repository string, day bool) {
	_, err := n.reg.UpdateRepository(ctx, repository, n.setHistory(day))
	if err == nil {
		n.count("history setting")
	}
}
