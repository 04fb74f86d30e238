package gc_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"granary/blob"
	"granary/gc"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
)

// rest ends all faults, lets tasks end, reads all that anybody may ask for, then
// does rounds until nothing more can be collected, and compares.
func (w *world) rest(ctx context.Context) {
	w.kv.Calm()
	w.kv.Land(ctx)
	for _, s := range w.stores {
		s.blobs.Quiet(true)
	}
	w.locked(func() { w.calm = true })
	time.Sleep(time.Minute) // all others are dead
	w.lastly(false, func(n *node) {
		w.finishTasks(n.ctx, n)
		w.look(n.ctx, n)
		w.whole(n.ctx, n)
		w.clear(n.ctx, n)
	})
	time.Sleep(2 * simHistory)
	w.lastly(true, func(n *node) {
		w.pruneAll(n.ctx, n)
		w.collect(n.ctx, n)
	})
}

// lastly does something on a node that nothing happens to.
func (w *world) lastly(alone bool, f func(*node)) {
	n, err := w.node(0, "last", 0, alone)
	if err != nil {
		w.fail("start at rest: %v", err)
		return
	}
	defer n.close()
	f(n)
}

// collect does rounds until nothing more can be collected. Once in a hundred
// times a filter takes what nothing names for named: then it takes a round more.
func (w *world) collect(ctx context.Context, n *node) {
	w.remember(ctx)
	var left []string
	for i := range 8 {
		time.Sleep(25 * time.Hour / time.Duration(1+i%2*25)) // a look for objects every other time
		if err := n.gc.Observe(ctx); err != nil {
			w.fail("look at the last round: %v", err)
		}
		time.Sleep(2 * simGrace)
		if _, err := runRound(ctx, n.gc, gc.Options{}); err != nil {
			w.fail("a round at rest: %v", err)
			return
		}
		if i < 3 {
			continue
		}
		if left = w.untidy(w.whole(ctx, n)); len(left) == 0 {
			break
		}
	}
	for _, s := range left {
		w.fail("%s after eight rounds", s)
	}
	w.look(ctx, n)
}

// remember notes which objects are there.
func (w *world) remember(ctx context.Context) {
	w.stood = map[blob.ID]bool{}
	for _, s := range w.stores {
		for info := range s.memory.List(ctx, "") {
			w.stood[info.ID] = true
		}
	}
}

// finishTasks waits for what goes on, and ends promotions.
func (w *world) finishTasks(ctx context.Context, n *node) {
	for try := 0; ; try++ {
		time.Sleep(5 * time.Second)
		all, err := n.tasks.List(ctx)
		if err != nil {
			w.fail("list tasks: %v", err)
			return
		}
		open := 0
		for _, t := range all {
			if !t.Status.Over() {
				open++
			}
		}
		if open == 0 {
			break
		}
		if try == 200 {
			w.fail("%d tasks do not end: %+v", open, all)
			return
		}
	}
	for client := range simNodes {
		n.client = client
		for try := 0; ; try++ {
			p := n.pending()
			if p == nil {
				break
			}
			if try == 8 { // one that another worker has ended can't be gone on with
				n.locked(func() { p.back = true })
			}
			if err := n.settlePromotion(ctx, p); err != nil && try == 20 {
				w.fail("promotion %v does not end: %v", p.Paths, err)
				break
			}
		}
	}
	n.client = 0
}

// look reads every path, every document, every snapshot and every clone.
func (w *world) look(ctx context.Context, n *node) {
	for _, tr := range w.truth {
		n.check(ctx, tr)
	}
	for _, tr := range w.shared {
		n.checkShared(ctx, tr)
	}
	for client := range simNodes {
		n.checkLedger(ctx, client, "", nil)
		for at, x := range w.pasts {
			n.checkSnapshot(ctx, at, x, client)
		}
	}
	for name, x := range w.clones {
		n.checkClone(ctx, name, x)
	}
	for range 6 {
		n.readMirror(ctx)
	}
}

// clear removes what does not stay: snapshots, clones, other repositories; and
// brings all blobs where they belong.
func (w *world) clear(ctx context.Context, n *node) {
	must := func(what string, err error) {
		if err != nil {
			w.fail("%s: %v", what, err)
		}
	}
	for _, c := range n.reg.Repositories() {
		if w.repos[c.Name] == nil {
			_, err := n.reg.DeleteRepository(ctx, c.Name)
			must("delete "+c.Name, err)
			continue
		}
		all, err := n.service.Snapshots(ctx, c.Name)
		must("list snapshots", err)
		for _, s := range all {
			must("delete a snapshot", n.service.DeleteSnapshot(ctx, c.Name, s.Name))
		}
	}
	for _, name := range []string{simFirst, simSecond} {
		_, err := n.reg.UpdateRepository(ctx, name, n.setHistory(false))
		must("set history", err)
	}
	for shard := range w.repos[simSecond].Shards {
		err := n.service.MoveShard(ctx, w.repos[simSecond].ID, shard, "", func(string, int64) error { return nil })
		must("move "+simSecond, err)
	}
	w.pasts, w.clones = map[string]*watch{}, map[string]*watch{}
}

func (w *world) pruneAll(ctx context.Context, n *node) {
	for _, c := range w.repos {
		for s := range c.Shards {
			if err := n.pruner.Prune(ctx, c.ID, s, "", func(string, int64) error { return nil }); err != nil {
				w.fail("prune %s at rest: %v", c.Name, err)
			}
		}
	}
}

// naming is what names a content: a record, what one was, or a document.
type naming struct {
	what string
	repo.Named
}

// whole makes sure that the bytes of all that is named are there, and returns
// what that is.
func (w *world) whole(ctx context.Context, n *node) map[string]bool {
	named := map[string]bool{}
	w.blobs = map[blob.ID]bool{}
	living, err := n.reg.Living(ctx)
	if err != nil {
		w.fail("list repositories: %v", err)
	}
	for _, c := range living {
		for _, x := range w.namings(ctx, n, c) {
			key := x.Store + "/" + hex.EncodeToString(x.Hash)
			named[key], w.blobs[x.Blob] = true, true
			if err := w.intact(ctx, x.Named); err != nil {
				w.fail("%s names content that is not there: %v", x.what, err)
			}
		}
	}
	return named
}

func (w *world) namings(ctx context.Context, n *node, c *config.Repository) (out []naming) {
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	add := func(partition string, names func(kv.Item) ([]repo.Named, error)) {
		for item, err := range w.mem.Query(ctx, partition, "", "") {
			var found []repo.Named
			if err == nil {
				found, err = names(item)
			}
			if err != nil {
				w.fail("read %s: %v", partition, err)
			}
			for _, x := range found {
				out = append(out, naming{fmt.Sprintf("%s of %s", item.Sort, c.Name), x})
			}
		}
	}
	for shard := range max(c.Shards, 1) {
		add(sp.Records(shard), func(item kv.Item) ([]repo.Named, error) {
			if _, _, marker := kv.SplitRecord(item.Sort); marker {
				return nil, nil
			}
			r, err := record.Decode(item)
			if err != nil || r.Blob == "" {
				return nil, err
			}
			return []repo.Named{{Store: r.Store, Hash: r.Sums.BLAKE3, Blob: r.Blob}}, nil
		})
		add(sp.History(shard), func(item kv.Item) ([]repo.Named, error) {
			x, ok, err := repo.ReadHistory(item)
			if !ok {
				return nil, err
			}
			return []repo.Named{x}, err
		})
		add(sp.Index(shard), func(item kv.Item) ([]repo.Named, error) {
			x, err := repo.ReadIndexed(item)
			return x.Names, err
		})
	}
	return out
}

// intact tells whether a content has a reference to bytes that are there. Where
// that was destroyed, the bytes themselves stay as long as they are named.
func (w *world) intact(ctx context.Context, x repo.Named) error {
	hash := hex.EncodeToString(x.Hash)
	item, err := w.mem.Get(ctx, kv.Reference(x.Store, hash), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		if w.rotten[hash] && w.stood[x.Blob] {
			_, err = w.bytesOf(x.Store).Stat(ctx, x.Blob)
			return err
		}
		if w.rotten[hash] {
			return nil
		}
		return fmt.Errorf("%s has no reference", hash[:8])
	}
	if err != nil {
		return err
	}
	ref, err := refs.Decode(item)
	if err != nil || w.rotten[hash] {
		return err
	}
	_, err = w.bytesOf(x.Store).Stat(ctx, ref.Blob)
	if err != nil || ref.State == refs.Deleting || ref.State == refs.Lost {
		return fmt.Errorf("%s is %v: %w", hash[:8], ref.State, err)
	}
	return nil
}

func (w *world) bytesOf(store string) blob.Store {
	for _, s := range w.stores {
		if s.id == store {
			return s.memory
		}
	}
	return nil
}

// untidy lists what is stored although nothing names it.
func (w *world) untidy(named map[string]bool) (left []string) {
	ctx := w.t.Context()
	for _, s := range w.stores {
		blobs := map[string]bool{}
		for p := range 256 {
			for item, err := range w.mem.Query(ctx, kv.ReferencePartition(s.id, fmt.Sprintf("%02x", p)), "", "") {
				ref, derr := refs.Decode(item)
				if err = errors.Join(err, derr); err != nil {
					w.fail("read references: %v", err)
					continue
				}
				if !named[s.id+"/"+item.Sort] {
					left = append(left, fmt.Sprintf("the reference to %s, which nothing names, is %v", item.Sort[:8], ref.State))
				}
				blobs[string(ref.Blob)] = true
			}
		}
		for info := range s.memory.List(ctx, "") {
			if !blobs[string(info.ID)] && !w.blobs[info.ID] {
				left = append(left, fmt.Sprintf("the object %s, which nothing names, is there", info.ID))
			}
		}
		s.memory.Check()
	}
	w.did["named at the end"] = len(named)
	return left
}

// history is what is stored of a path, for whoever wonders.
func (w *world) history(ctx context.Context, repository, path string) (out []string) {
	c := w.repos[repository]
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	scope, name, _ := strings.Cut(path, "/")
	for _, partition := range []string{sp.Records(sp.Shard(scope)), sp.History(sp.Shard(scope)), kv.SnapshotPartition} {
		for item, err := range w.mem.Query(ctx, partition, "", "") {
			switch {
			case err != nil:
				out = append(out, err.Error())
			case partition == kv.SnapshotPartition && strings.HasPrefix(item.Sort, c.ID):
				var s repo.Snapshot
				kv.Unmarshal(item.Value, &s) //nolint:errcheck // only to be shown
				out = append(out, fmt.Sprintf("snapshot %q at %v", s.Name, s.Time().Sub(w.begin)))
			case strings.HasPrefix(item.Sort, scope+"//"+name):
				r, _ := record.Decode(item) //nolint:errcheck // as above
				out = append(out, fmt.Sprintf("%s since %v deleted %v commit %q", item.Sort, time.Unix(0, r.Since).Sub(w.begin), r.Deleted, r.Commit))
			}
		}
	}
	return out
}
