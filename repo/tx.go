package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/record"
	"granary/repo/refs"
)

// tx is formats.Tx: what an upload or a removal does to one hosted repository
// (or, for a removal, to a cache's copies).
type tx struct {
	*hosted
	store    blob.Store
	up       *formats.Upload
	op       formats.Op // of the request, if it is one of a client
	max      int64
	pre      Precondition
	blobs    []*upload
	buffered int64 // bytes of them in memory
	puts     []put
	group    view  // that the upload came through; nil without one
	adopted  []put // published before puts
	deletes  []formats.Op
	gone     *record.Named // just removed: it says what goes along with it; nil for none
	retired  *retired      // about to be removed; nil for none
	looks    bool          // nothing is to be removed
	done     Commit        // so far
	began    time.Time
}

// upload is formats.Blob.
type upload struct{ *blob.Received }

type put struct {
	rec  formats.Record
	blob *upload
	may  func(old *formats.Record) error // nil: the conflict policy decides
	kept *content                        // instead of blob: bytes that the store has already
}

var _ formats.Tx = (*tx)(nil)

func newTx(ctx context.Context, h *hosted, up *formats.Upload, pre Precondition) (*tx, error) {
	store, err := h.service.Store(ctx, h.repo.Store)
	if err != nil {
		return nil, err
	}
	return &tx{hosted: h, store: store, up: up, pre: pre, max: h.service.Registry.Settings().MaxArtifactBytes, began: h.service.Now()}, nil
}

// Blob stages bytes: short ones in memory, long ones in the store.
func (t *tx) Blob(ctx context.Context, r io.Reader, also ...digest.Algorithm) (formats.Blob, error) {
	size := int64(-1)
	if t.up != nil && r == t.up.Body {
		size = t.up.Size
	}
	o := t.service.receiveOptions(size, also...)
	o.Max = t.max
	o.Patient = len(t.blobs) == 0 // others must not wait for what this upload holds itself
	// One budget for all blobs of the upload: what is beyond it streams into
	// the store as it arrives.
	o.Buffer = max(blob.DefaultBuffer-t.buffered, 1)
	began := t.service.Now()
	rc, err := blob.Receive(ctx, t.store, r, o)
	if err != nil {
		return nil, err
	}
	t.service.Observer.Received(t.service.Now().Sub(began))
	if b, ok := rc.Bytes(); ok {
		t.buffered += int64(len(b))
	}
	u := &upload{rc}
	t.blobs = append(t.blobs, u)
	return u, nil
}

func (t *tx) Put(rec formats.Record, b formats.Blob) {
	t.PutIf(rec, b, nil)
}

func (t *tx) PutIf(rec formats.Record, b formats.Blob, may func(old *formats.Record) error) {
	u, _ := b.(*upload)
	t.puts = append(t.puts, put{rec: rec, blob: u, may: may})
}

func (t *tx) Delete(scope, name string) {
	t.deletes = append(t.deletes, formats.Op{Scope: scope, Name: name})
}

func (t *tx) Record(ctx context.Context, scope, name string) (formats.Record, error) {
	if g := t.gone; g != nil && g.Scope == scope && g.Name == name {
		return g.Record.Public(scope, name), nil
	}
	rec, _, err := t.service.Records.Get(ctx, t.repo.space, scope, name, record.Latest)
	if err != nil {
		return formats.Record{}, err
	}
	t.saw(scope, name, rec)
	return rec.Public(scope, name), nil
}

func (t *tx) Records(ctx context.Context, scope string) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for n, err := range t.named(ctx, scope, "") {
			if err != nil {
				yield(formats.Record{}, err)
				return
			}
			t.saw(n.Scope, n.Name, n.Record)
			if !yield(n.Record.Public(n.Scope, n.Name), nil) {
				return
			}
		}
	}
}

func (t *tx) Settings() formats.Settings { return t.repo.settings() }

// close drops staged bytes that were not published.
func (t *tx) close(ctx context.Context) {
	for _, b := range t.blobs {
		t.service.discard(ctx, b.Received)
	}
}

// explain puts what went wrong with a body into the terms of the contract.
func (t *tx) explain(err error) error {
	var reading *blob.ReadError
	switch {
	case errors.Is(err, formats.ErrBadRequest), errors.Is(err, formats.ErrTooLarge), errors.Is(err, formats.ErrChecksum):
		return err // a reader of the format's own said it
	case errors.Is(err, blob.ErrTooLarge):
		return fmt.Errorf("%w: more than %d bytes", formats.ErrTooLarge, t.max)
	case errors.Is(err, blob.ErrNoSpace):
		return fmt.Errorf("%w: %w", formats.ErrNoSpace, err)
	case errors.Is(err, kv.ErrNoSpace):
		return fmt.Errorf("%w: %w", formats.ErrNoSpace, err)
	case errors.Is(err, blob.ErrLength), errors.As(err, &reading):
		return fmt.Errorf("%w: %w", formats.ErrTruncated, err)
	}
	return err
}

// commitTime bounds what is done once a body has arrived whole: the stores'
// own retries end long before, unless they can't be reached at all. Uploading
// to a slow store may take this long for what was held in memory.
const commitTime = 5 * time.Minute

// uninterrupted is a context for writes that a client's going away must not
// stop half way.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), commitTime)
}

// commit publishes the puts, then removes what was deleted, then stamps.
func (t *tx) commit(ctx context.Context) ([]formats.Record, error) {
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	began := t.service.Now()
	if err := t.checkPrecondition(ctx); err != nil {
		return nil, err
	}
	if err := t.withinQuota(ctx); err != nil {
		return nil, err
	}
	for _, p := range t.adopted {
		if _, err := t.publish(ctx, p, false); err != nil {
			return nil, t.explain(err)
		}
	}
	out := make([]formats.Record, 0, len(t.puts))
	judged := t.judged()
	for i, p := range t.puts {
		rec, err := t.publish(ctx, p, i == judged)
		if errors.Is(err, errSame) {
			adds, lookErr := t.adds(ctx, t.puts[i+1:])
			if lookErr != nil {
				return nil, lookErr
			}
			if !adds {
				// It may be this client's own upload, of which a crash took the
				// stamp.
				return nil, errors.Join(err, t.stamp(ctx))
			}
			err = nil
		}
		if err != nil {
			return nil, t.explain(err)
		}
		out = append(out, rec.Public(p.rec.Scope, p.rec.Name))
	}
	if err := t.whole(ctx); err != nil {
		return nil, err
	}
	for _, d := range t.deletes {
		if _, err := t.remove(ctx, d, false); err != nil {
			return nil, err
		}
	}
	if err := t.finish(ctx); err != nil {
		return out, err
	}
	now := t.service.Now()
	t.service.Observer.Committed(now.Sub(began), now.Sub(t.began))
	return out, nil
}

// finish stamps, and tells what was written.
func (t *tx) finish(ctx context.Context) error {
	err := t.stamp(ctx)
	t.done.Repository = t.repo.Repository
	t.service.tell(t.done)
	return err
}

// commitDeletes tells whether any of the deletions met a record.
func (t *tx) commitDeletes(ctx context.Context) (bool, error) {
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if err := t.checkPrecondition(ctx); err != nil {
		return false, err
	}
	if err := t.stays(ctx); err != nil {
		return false, err
	}
	found, judged := false, t.judgedDelete()
	for i, d := range t.deletes {
		ok, err := t.remove(ctx, d, i == judged)
		if err != nil {
			return false, err
		}
		found = found || ok
	}
	if !found && t.retired != nil {
		return false, errNewer // all of it was written again meanwhile
	}
	return found, t.finish(ctx)
}

// publish stores one record and what it needs, after the conflict policy. judged:
// the conditions of the request are about it.
func (t *tx) publish(ctx context.Context, p put, judged bool) (record.Record, error) {
	rec, held, err := t.prepare(ctx, p)
	if err != nil {
		return rec, err
	}
	where := formats.Join(p.rec.Scope, p.rec.Name)
	out, err := t.service.Records.Put(ctx, t.repo.space, p.rec.Scope, p.rec.Name, rec, func(old *record.Record) (record.Verdict, error) {
		if judged {
			if err := t.pre.check(old); err != nil {
				return record.Refuse, err
			}
		}
		if p.may != nil {
			if err := p.allowed(old); err != nil {
				return record.Refuse, err
			}
		}
		return t.conflict(where, p, rec, old)
	})
	if err != nil {
		return rec, fmt.Errorf("%s/%s: %w", t.repo.Name, where, err)
	}
	if held != nil {
		if err := t.service.confirm(ctx, t.repo, p.rec.Scope, p.rec.Name, *held, out); err != nil {
			return rec, fmt.Errorf("keep the content of %s/%s: %w", t.repo.Name, where, err)
		}
	}
	if !rec.Hidden(p.rec.Name) {
		if err := t.service.Records.EnsureMarkers(ctx, t.repo.space, p.rec.Scope); err != nil {
			return rec, fmt.Errorf("mark the directories of %s/%s: %w", t.repo.Name, where, err)
		}
	}
	if p.blob != nil || p.kept != nil {
		known := p.blob != nil && held != nil && held.Dedup || p.kept != nil && !p.kept.fresh
		t.service.Observer.Ingested(t.repo.Format, string(t.repo.Type), out.Same || known, rec.Size)
	}
	if !out.Same {
		t.done.Put = append(t.done.Put, out.Record.Public(p.rec.Scope, p.rec.Name))
	}
	return out.Record, nil
}

// prepare makes the stored form: inline bytes, or a use of their reference.
func (t *tx) prepare(ctx context.Context, p put) (record.Record, *refs.Held, error) {
	now := t.service.Now().UnixNano()
	rec := record.Record{
		Type: p.rec.Type, Meta: p.rec.Meta, Path: p.rec.Path, URL: p.rec.URL, Move: p.rec.Move,
		Created: now, Updated: now,
	}
	switch {
	case p.kept != nil:
		return t.use(ctx, rec, p)
	case p.blob == nil:
		return rec, nil, nil
	}
	rec.Size, rec.Sums = p.blob.Size(), p.blob.Sums()
	if b, ok := p.blob.Inline(); ok {
		rec.Inline = bytes.Clone(b)
		return rec, nil, nil
	}
	held, err := t.service.hold(ctx, t.repo.Store, p.blob.Received)
	if err != nil {
		return rec, nil, fmt.Errorf("store the bytes of %s/%s: %w", t.repo.Name, p.rec.Key(), err)
	}
	rec.Store, rec.Blob = t.repo.Store, held.Blob
	return rec, &held, nil
}

// remove deletes a record. One that is not what was read before is left. judged:
// the conditions of the request are about it.
func (t *tx) remove(ctx context.Context, op formats.Op, judged bool) (bool, error) {
	_, err := t.service.Records.Delete(ctx, t.repo.space, op.Scope, op.Name, func(now record.Record) error {
		if err := t.retired.check(op, now); err != nil {
			return err
		}
		if judged {
			return t.pre.check(&now)
		}
		return nil
	})
	if errors.Is(err, formats.ErrNotFound) || errors.Is(err, errNewer) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete %s/%s: %w", t.repo.Name, op.Key(), err)
	}
	t.done.Deleted = append(t.done.Deleted, op.Key())
	return true, nil
}

// stamp makes documents of the touched scopes be rendered anew. It is done
// also when nothing was written: an earlier try may have died before it.
func (t *tx) stamp(ctx context.Context) error {
	if t.repo.index == nil {
		return nil
	}
	var scopes []string
	for _, p := range t.puts {
		scopes = append(scopes, p.rec.Scope)
	}
	for _, d := range t.deletes {
		scopes = append(scopes, d.Scope)
	}
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	if len(scopes) == 0 {
		return nil
	}
	if err := t.service.Records.Touch(ctx, t.repo.space, scopes...); err != nil {
		return fmt.Errorf("stamp %s: %w", t.repo.Name, err)
	}
	return nil
}
