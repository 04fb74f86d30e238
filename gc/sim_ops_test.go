package gc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"granary/formats"
	"granary/gc"
	"granary/kv"
	"granary/repo"
	"granary/repo/record"
	"granary/repo/refs"
)

// truth is what is known of a path. Paths of one node hold what that node wrote
// last; shared ones always the same content, or nothing.
type truth struct {
	repo, path string
	may        map[int]bool // contents that it may hold; none is -1
	// Of a shared path: deletes that were begun, and at which of them an upload
	// was acknowledged that none overlapped.
	begun, acked int
	sure         bool
}

const contents = 5

func content(n int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("content %d ", n)), 4) }

func (w *world) path(i, k int) *truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprintf("n%d/f%d", i, k)
	if i < 0 {
		name = fmt.Sprintf("shared/%d", k)
	}
	tr := w.truth[name]
	if tr == nil {
		tr = &truth{repo: w.repos[k%2].Name, path: name, may: map[int]bool{-1: true}}
		w.truth[name] = tr
	}
	return tr
}

func (w *world) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// handle does what the HTTP layer does.
func (n *node) send(ctx context.Context, tr *truth, method string, data []byte) ([]byte, error) {
	h, err := n.service.Open(ctx, tr.repo, repo.Everything)
	if err != nil {
		return nil, err
	}
	op, ok := h.Route(formats.Req{Method: method, Path: tr.path})
	if !ok {
		return nil, formats.ErrNotFound
	}
	switch op.Kind {
	case formats.Write:
		_, err := h.Write(ctx, op, &formats.Upload{Body: bytes.NewReader(data), Size: int64(len(data)), Repository: tr.repo}, repo.Precondition{})
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

// client does random things, one after the other.
func (n *node) lives(ctx context.Context, me int, until time.Time) {
	for time.Now().Before(until) && n.alive() == nil {
		time.Sleep(time.Duration(1+n.roll(6000)) * time.Millisecond)
		own := n.path(me, n.roll(3))
		switch n.roll(10) {
		case 0, 1, 2:
			n.put(ctx, own, n.roll(contents))
		case 3, 4:
			n.del(ctx, own)
		case 5:
			n.putShared(ctx, n.path(-1, n.roll(2)))
		case 6:
			n.delShared(ctx, n.path(-1, n.roll(2)))
		case 7:
			n.move(ctx, own, n.path(me, n.roll(3)))
		case 8:
			n.prune(ctx)
		default:
			n.check(ctx, own)
		}
	}
}

func (n *node) put(ctx context.Context, tr *truth, c int) {
	n.locked(func() { tr.may[c] = true })
	if _, err := n.send(ctx, tr, "PUT", content(c)); err == nil {
		n.locked(func() { tr.may = map[int]bool{c: true} })
		n.count("put")
	} else if errors.Is(err, refs.ErrGone) {
		n.count("put that was too slow")
		// It has taken its own record back, or another of its attempts may be there.
	}
}

func (n *node) del(ctx context.Context, tr *truth) {
	n.locked(func() { tr.may[-1] = true })
	_, err := n.send(ctx, tr, "DELETE", nil)
	if err == nil || errors.Is(err, formats.ErrNotFound) {
		n.locked(func() { tr.may = map[int]bool{-1: true} })
		n.count("delete")
	}
}

func (n *node) putShared(ctx context.Context, tr *truth) {
	var begun int
	n.locked(func() { begun = tr.begun })
	if _, err := n.send(ctx, tr, "PUT", content(100)); err == nil {
		n.locked(func() {
			if tr.begun == begun {
				tr.acked, tr.sure = begun, true
			}
		})
		n.count("shared put")
	}
}

func (n *node) delShared(ctx context.Context, tr *truth) {
	n.locked(func() { tr.begun++; tr.sure = false })
	n.send(ctx, tr, "DELETE", nil) //nolint:errcheck // it may have happened
	// A write of it that lands late may hit what is put from now on.
	n.locked(func() { tr.begun++; tr.sure = false })
	n.count("shared delete")
}

// move copies a record to another path, which is a use, and removes the source.
func (n *node) move(ctx context.Context, from, to *truth) {
	if from == to || from.repo != to.repo {
		return
	}
	scope, name, _ := strings.Cut(from.path, "/")
	c := n.repos[0]
	if from.repo != c.Name {
		c = n.repos[1]
	}
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	rec, _, err := n.records.Get(ctx, sp, scope, name, record.Latest)
	if err != nil || rec.Blob == "" {
		return
	}
	was := -1
	for i := range contents {
		if rec.Size == int64(len(content(i))) && bytes.Equal(rec.Sums.SHA256, sumOf(content(i))) {
			was = i
		}
	}
	held, err := n.refs.Use(ctx, rec.Store, rec.Sums.BLAKE3)
	if err != nil {
		return
	}
	rec.Blob = held.Blob
	toScope, toName, _ := strings.Cut(to.path, "/")
	n.locked(func() { to.may[was] = true })
	out, err := n.records.Put(ctx, sp, toScope, toName, rec, nil)
	if err != nil {
		return
	}
	if err := n.refs.Confirm(ctx, held); err != nil {
		_, err := n.records.Delete(ctx, sp, toScope, toName, func(r record.Record) error {
			if r.Nonce != out.Record.Nonce {
				return errors.New("another")
			}
			return nil
		})
		n.locked(func() { to.may[-1] = true; to.may[was] = err != nil })
		return
	}
	n.locked(func() { to.may = map[int]bool{was: true} })
	n.count("move")
	n.del(ctx, from)
}

// prune removes history that nobody can ask for any more.
func (n *node) prune(ctx context.Context) {
	store := gate{n.kv, n}
	for _, c := range n.repos {
		sp := kv.Space{Repo: c.ID, Shards: c.Shards}
		for s := range c.Shards {
			var old []kv.Item
			for item, err := range store.Query(ctx, sp.History(s), "", "", kv.Consistent) {
				if err != nil {
					return
				}
				_, _, since, _, ok := kv.SplitReplaced(item.Sort)
				if ok && time.Since(time.Unix(0, since)) > simHistory {
					old = append(old, item)
				}
			}
			for _, item := range old {
				if store.DeleteIf(ctx, item.Key, item.Version) != nil {
					return
				}
			}
		}
	}
	n.count("prune")
}

// passing are errors that say nothing of what is there.
func passing(err error) bool {
	return !errors.Is(err, formats.ErrNotFound) && !errors.Is(err, formats.ErrCorrupt)
}

// check reads a path of one's own.
func (n *node) check(ctx context.Context, tr *truth) {
	got, err := n.send(ctx, tr, "GET", nil)
	if err != nil && passing(err) {
		return
	}
	n.count("check")
	var may string
	ok := false
	n.locked(func() {
		may = fmt.Sprint(tr.may)
		for c, possible := range tr.may {
			if possible && (c < 0 && errors.Is(err, formats.ErrNotFound) || c >= 0 && err == nil && bytes.Equal(got, content(c))) {
				ok = true
			}
		}
	})
	if !ok {
		n.fail("%s/%s: got %q, %v; it may hold %s", tr.repo, tr.path, got, err, may)
	}
}

func (n *node) checkShared(ctx context.Context, tr *truth) {
	got, err := n.send(ctx, tr, "GET", nil)
	if err != nil && passing(err) {
		return
	}
	n.locked(func() {})
	if tr.sure && (err != nil || !bytes.Equal(got, content(100))) {
		n.fail("%s/%s was acknowledged: got %q, %v", tr.repo, tr.path, got, err)
	}
	if err == nil && !bytes.Equal(got, content(100)) || errors.Is(err, formats.ErrCorrupt) && tr.sure {
		n.fail("%s/%s: got %q, %v", tr.repo, tr.path, got, err)
	}
}

// collector takes part in rounds: it begins one when it may, does parts of the
// one that is on, some of them for the second time, and closes it.
func (n *node) collector(ctx context.Context, until time.Time) {
	for time.Now().Before(until) && n.alive() == nil {
		time.Sleep(time.Duration(1+n.roll(4000)) * time.Millisecond)
		r, err := n.gc.Last(ctx)
		if err != nil {
			continue
		}
		if r == nil || r.Closed != 0 || n.roll(40) == 0 { // or gives up the one that is on
			if r, err = n.gc.Begin(ctx, gc.Options{Asked: n.roll(4) == 0}); err != nil {
				continue
			}
			n.count("round begun")
		}
		parts := r.Parts()
		from := n.roll(len(parts))
		for i := range parts {
			part := parts[i]
			if n.roll(4) == 0 {
				part = parts[(from+i)%len(parts)]
			}
			if err := n.gc.Part(ctx, false, r.ID, part, nil); errors.Is(err, gc.ErrOver) || n.alive() != nil {
				break
			}
		}
		if _, err := n.gc.Finish(ctx, false, r.ID); err == nil {
			n.count("round closed")
		}
	}
}
