package gc_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"granary/cluster/task"
	"granary/formats"
	"granary/gc/audit"
	"granary/repo/config"
	"granary/repo/jobs"
)

// runTask starts a task and waits for its end while this node lives; ok is false
// where the outcome is not known or it did not complete.
func (n *node) runTask(ctx context.Context, kind string, params any) (task.Task, bool) {
	t, err := n.tasks.Start(ctx, kind, params, "")
	if err != nil {
		return t, false
	}
	if n.roll(8) == 0 {
		n.nap(ctx, 5*time.Second)
		n.tasks.Cancel(ctx, t.ID, "") //nolint:errcheck // or not
	}
	for range 60 {
		n.nap(ctx, 6*time.Second)
		if n.alive() != nil {
			return t, false
		}
		if now, err := n.tasks.Get(ctx, t.ID); err == nil && now.Status.Over() {
			n.count("task " + kind + " " + string(now.Status))
			return now, now.Status == task.Completed
		}
	}
	n.count("task " + kind + " takes long")
	return t, false
}

// clone makes a copy of a repository.
func (n *node) clone(ctx context.Context) {
	name := "clone-" + n.newID()
	x := n.watch(simFirst)
	n.locked(func() { n.clones[name] = x })
	c, err := n.service.BeginClone(ctx, n.reg, simFirst, name)
	if err != nil {
		return // in the end it goes
	}
	_, ok := n.runTask(ctx, jobs.CloneKind, jobs.CloneParams{Source: simFirst, Target: name, SourceID: c.Source, TargetID: c.Target})
	if ok {
		n.unwatch(x)
		n.checkClone(ctx, name, x)
	}
}

// checkClone reads a clone, which has all that the source had when it was made,
// or is not found.
func (n *node) checkClone(ctx context.Context, name string, x *watch) {
	for path, may := range x.may {
		got, err := n.send(ctx, name, "", path, http.MethodGet, nil)
		if err != nil && passing(err) {
			return
		}
		absent := errors.Is(err, formats.ErrNotFound)
		var ok bool
		n.locked(func() {
			ok = n.clones[name] == nil || x.open && absent || held(may, got, absent) && !errors.Is(err, formats.ErrCorrupt)
		})
		if !ok {
			n.fail("%s of %s: got %q, %v; it may have been %v", path, name, got, err, may)
		}
		n.count("clone read")
	}
}

func (n *node) dropClone(ctx context.Context) {
	name := ""
	n.locked(func() {
		var all []string
		for c := range n.clones {
			all = append(all, c)
		}
		slices.Sort(all)
		if len(all) > 0 {
			name = all[n.rng.IntN(len(all))]
		}
	})
	if name == "" {
		return
	}
	var x *watch
	n.locked(func() { x = n.clones[name] })
	n.checkClone(ctx, name, x)
	if x.open {
		return // it is not known to be made
	}
	n.locked(func() { delete(n.clones, name) })
	n.reg.DeleteRepository(ctx, name) //nolint:errcheck // what stays is removed in the end
}

// moveStore brings a repository's blobs into another store.
func (n *node) moveStore(ctx context.Context) {
	store := []string{"default", "other"}[n.roll(2)]
	c := n.repos[simSecond]
	n.runTask(ctx, jobs.MoveKind, jobs.MoveParams{Repo: c.Name, Store: store, RepoID: c.ID, StoreID: n.stores[store].id})
}

// audit reads everything; only what was destroyed may be found, and references
// that a late write has brought back after their content was collected.
func (n *node) audit(ctx context.Context) {
	t, ok := n.runTask(ctx, audit.Name, audit.Params{Verify: true})
	if !ok {
		return
	}
	var r audit.Result
	if err := json.Unmarshal(t.Result, &r); err != nil {
		n.fail("the result of an audit: %v", err)
		return
	}
	for _, f := range r.Findings {
		known := false
		n.locked(func() { known = n.rotten[f.Expected] })
		if !known && f.Repo == nil && !n.isNamed(ctx, f.Expected) {
			n.count("reference from the dead")
			continue
		}
		if !known {
			n.fail("an audit has found %s wrong: %v", f.Path, *f.Error)
		}
	}
	for range r.Fixed {
		n.count("audit repair")
	}
}

// isNamed tells whether anything names a content, given as BLAKE3 in hex.
func (n *node) isNamed(ctx context.Context, hash string) bool {
	living, err := n.reg.Living(ctx)
	if err != nil {
		return true
	}
	for _, c := range living {
		if slices.ContainsFunc(n.namings(ctx, n, c), func(x naming) bool { return hex.EncodeToString(x.Hash) == hash }) {
			return true
		}
	}
	return false
}

func (n *node) makeRepository(ctx context.Context, name string) bool {
	_, err := n.reg.CreateRepository(ctx, name, func(c *config.Repository) error {
		c.Type, c.Format, c.Store = config.Hosted, "raw", n.stores["default"].id
		return nil
	})
	return err == nil
}

// setHistory keeps it for a day, or no longer than must be.
func (n *node) setHistory(day bool) func(*config.Repository) error {
	return func(c *config.Repository) error {
		c.HistoryDays = nil
		if day {
			one := int64(1)
			c.HistoryDays = &one
		}
		return nil
	}
}
