package gc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"granary/formats"
	"granary/gc"
	"granary/repo"
	"granary/repo/refs"
)

// send does what the HTTP layer does. asOf is a snapshot or a time, or "".
func (n *node) send(ctx context.Context, repository, asOf, path, method string, data []byte) ([]byte, error) {
	if n.member != nil {
		if err := n.member.Ready(); err != nil {
			return nil, err
		}
	}
	open := func() (*repo.Handle, error) { return n.service.Open(ctx, repository, repo.Everything) }
	if asOf != "" {
		open = func() (*repo.Handle, error) { return n.service.OpenAsOf(ctx, repository, asOf, repo.Everything) }
	}
	h, err := open()
	if err != nil {
		return nil, err
	}
	op, ok := h.Route(formats.Req{Method: method, Path: path})
	if !ok {
		return nil, formats.ErrNotFound
	}
	switch op.Kind {
	case formats.Write:
		_, err := h.Write(ctx, op, &formats.Upload{Body: bytes.NewReader(data), Size: int64(len(data)), Repository: repository}, repo.Precondition{})
		return nil, err
	case formats.Delete:
		return nil, h.Delete(ctx, op, repo.Precondition{})
	}
	c, err := h.Read(ctx, op, repo.ReadOptions{})
	if err != nil {
		return nil, err
	}
	r, err := c.Open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// passing are errors that say nothing of what is there.
func passing(err error) bool {
	return !errors.Is(err, formats.ErrNotFound) && !errors.Is(err, formats.ErrCorrupt)
}

// client does random things, one after the other, until the process dies.
func (n *node) acts(ctx context.Context, until time.Time) {
	for time.Now().Before(until) && n.alive() == nil {
		n.nap(ctx, 4*time.Second)
		if p := n.pending(); p != nil {
			n.settlePromotion(ctx, p) //nolint:errcheck // it is gone on with later
			continue
		}
		n.act(ctx, n.swarm.work[n.roll(len(n.swarm.work))])
	}
}

func (n *node) act(ctx context.Context, op int) {
	own := n.own(n.client, n.either(), n.roll(simPaths))
	switch op {
	case doPut:
		n.put(ctx, own, n.fresh())
	case doDelete:
		n.del(ctx, own)
	case doShared:
		if k := n.roll(sharedOnes); n.roll(2) == 0 {
			n.putShared(ctx, n.common(k))
		} else {
			n.delShared(ctx, n.common(k))
		}
	case doPromote:
		n.promote(ctx)
	case doPublish:
		n.publish(ctx)
	case doPrune:
		n.prune(ctx)
	case doCheck:
		n.check(ctx, own)
	case doMirror:
		n.readMirror(ctx)
	case doSnapshot:
		if n.roll(3) == 0 {
			n.dropSnapshot(ctx)
		} else {
			n.snapshot(ctx)
		}
	case doPast:
		n.checkPast(ctx)
	case doClone:
		if n.roll(2) == 0 {
			n.dropClone(ctx)
		} else {
			n.clone(ctx)
		}
	case doBulk:
		n.bulkDelete(ctx)
	case doMoveStore:
		n.moveStore(ctx)
	case doConfigure:
		n.reconfigure(ctx)
	case doAudit:
		n.audit(ctx)
	case doUpstream:
		n.upstream.change(ctx, n)
	}
}

func (n *node) either() string { return []string{simFirst, simSecond, simTarget}[n.roll(3)] }

// fresh is a content to be written, one's own or one that all write. Which ones
// are written changes with time, so that each is garbage for a while and then used
// again.
func (n *node) fresh() int {
	phase := int(time.Since(n.world.begin)*2/(3*simGrace)) % phases
	who := 0
	if n.roll(3) > 0 {
		who = 1 + n.client
	}
	return phase*(1+simNodes) + who
}

func (n *node) put(ctx context.Context, tr *truth, c int) bool {
	n.maybe(tr, c)
	_, err := n.send(ctx, tr.repo, "", tr.path, "PUT", content(c))
	if err == nil {
		n.surely(tr, c)
		n.count("put")
		return true
	}
	if errors.Is(err, refs.ErrGone) {
		n.count("put that was too slow")
		// It has taken its own record back, or another of its attempts may be there.
	}
	return false
}

func (n *node) del(ctx context.Context, tr *truth) bool {
	before := n.possible(tr)
	n.maybe(tr, gone)
	_, err := n.send(ctx, tr.repo, "", tr.path, "DELETE", nil)
	if err == nil || errors.Is(err, formats.ErrNotFound) {
		if err == nil || !pending(before) {
			n.surely(tr, gone)
		}
		n.count("delete")
		return true
	}
	return false
}

// pending tells whether a write to a path is not settled, of all that it may
// hold. A delete that finds nothing there writes nothing, so that such a write may
// land after it.
func pending(may []int) bool { return len(may) > 1 }

func (n *node) putShared(ctx context.Context, tr *sharedTruth) {
	var begun int
	n.locked(func() { begun = tr.begun })
	if _, err := n.send(ctx, tr.repo, "", tr.path, "PUT", content(together)); err == nil {
		n.locked(func() {
			if tr.begun == begun {
				tr.sure = true
			}
		})
		n.count("shared put")
	}
}

func (n *node) delShared(ctx context.Context, tr *sharedTruth) {
	n.locked(func() { tr.begun++; tr.sure = false })
	n.send(ctx, tr.repo, "", tr.path, "DELETE", nil) //nolint:errcheck // it may have happened
	// A write of it that lands late may hit what is put from now on.
	n.locked(func() { tr.begun++; tr.sure = false })
	n.count("shared delete")
}

// bulkDelete removes all paths of one's own in a repository.
func (n *node) bulkDelete(ctx context.Context) {
	repository := n.either()
	var all, unsettled []*truth
	for k := range simPaths {
		tr := n.own(n.client, repository, k)
		if all = append(all, tr); pending(n.possible(tr)) {
			unsettled = append(unsettled, tr)
		}
		n.maybe(tr, gone)
	}
	c := n.repos[repository]
	for shard := range c.Shards {
		err := n.service.BulkDelete(ctx, c.ID, fmt.Sprintf("n%d", n.client), shard, n.service.Until(), func(repo.Removed) error { return nil })
		if err != nil {
			return
		}
	}
	for _, tr := range all {
		if !slices.Contains(unsettled, tr) {
			n.surely(tr, gone)
		}
	}
	n.count("bulk delete")
}

// prune removes history that nobody can ask for any more, sometimes not to the
// end.
func (n *node) prune(ctx context.Context) {
	for _, c := range n.repos {
		for s := range c.Shards {
			err := n.pruner.Prune(ctx, c.ID, s, "", func(string, int64) error {
				if n.roll(80) == 0 {
					return errDead
				}
				return nil
			})
			if err != nil {
				return
			}
		}
	}
	n.count("prune")
}

// check reads a path that nobody writes now, from this node.
func (n *node) check(ctx context.Context, tr *truth) {
	got, err := n.send(ctx, tr.repo, "", tr.path, "GET", nil)
	if err != nil && passing(err) {
		return
	}
	n.count("check")
	var ok bool
	var may string
	n.locked(func() {
		ok = held(tr.may, got, errors.Is(err, formats.ErrNotFound)) && !errors.Is(err, formats.ErrCorrupt)
		may = fmt.Sprint(tr.may)
	})
	if !ok {
		n.fail("%s/%s: got %q, %v; it may hold %s; %v", tr.repo, tr.path, got, err, may, tr.log)
	}
}

func (n *node) checkShared(ctx context.Context, tr *sharedTruth) {
	got, err := n.send(ctx, tr.repo, "", tr.path, "GET", nil)
	if err != nil && passing(err) {
		return
	}
	sure := false
	n.locked(func() { sure = tr.sure })
	if sure && (err != nil || !bytes.Equal(got, content(together))) {
		n.fail("%s/%s was acknowledged: got %q, %v", tr.repo, tr.path, got, err)
	}
	if err == nil && !bytes.Equal(got, content(together)) || errors.Is(err, formats.ErrCorrupt) && sure {
		n.fail("%s/%s: got %q, %v", tr.repo, tr.path, got, err)
	}
}

// collector takes part in rounds: it begins one when it may, does parts of the
// one that is on, some of them for the second time, and closes it.
func (n *node) collector(ctx context.Context, until time.Time) {
	done := map[string]bool{} // parts of the last round that this node has seen closed
	for time.Now().Before(until) && n.alive() == nil {
		n.nap(ctx, 4*time.Second)
		r, err := n.gc.Last(ctx)
		if err != nil {
			continue
		}
		if r == nil || r.Closed != 0 || n.roll(n.swarm.giveUp) == 0 { // or gives up the one that is on
			if r, err = n.gc.Begin(ctx, gc.Options{Asked: n.roll(8) == 0}); err != nil {
				continue
			}
			clear(done)
			n.count("round begun")
		}
		n.parts(ctx, r, done)
		if res, err := n.gc.Finish(ctx, false, r.ID); err == nil {
			clear(done)
			n.closed(res.Tally)
		}
	}
}

// parts does those of a round that it does not know to be closed, and some others.
func (n *node) parts(ctx context.Context, r *gc.Round, done map[string]bool) {
	parts := r.Parts()
	from := n.roll(len(parts))
	for i := range parts {
		part := parts[i]
		if n.roll(4) == 0 {
			part = parts[(from+i)%len(parts)]
		}
		key := string(r.ID) + part
		if done[key] && n.roll(12) != 0 {
			continue
		}
		mark := strings.HasPrefix(part, "mark/")
		if n.roll(100) < n.swarm.slowParts || mark && n.roll(10) < n.swarm.slowParts {
			n.nap(ctx, simGrace/4)
		}
		if n.swarm.filters && mark && n.roll(12) == 0 {
			n.loseFilters(ctx)
		}
		err := n.gc.Part(ctx, false, r.ID, part, nil)
		if errors.Is(err, gc.ErrOver) || n.alive() != nil {
			return
		}
		done[key] = err == nil
	}
}

func (n *node) closed(t gc.Tally) {
	n.locked(func() {
		n.did["round closed"]++
		n.did["condemned"] += int(t.Condemned)
		n.did["acquitted"] += int(t.Acquitted)
		n.did["collected"] += int(t.Deleted)
	})
}
