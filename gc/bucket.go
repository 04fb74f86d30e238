package gc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/blob"
	"granary/gc/filter"
)

// leastAge is how old an object without a reference must be, by its store's own
// clock, before it is deleted.
const leastAge = 24 * time.Hour

// idleUpload is how long nobody must have gone on with a multipart upload.
const idleUpload = 7 * 24 * time.Hour

// bucketeer looks for objects that nothing names, among those whose path begins
// with one letter.
type bucketeer struct {
	*worker
	store  Swept
	bs     blob.Store
	now    time.Time // by the store's clock
	marks  *filter.Set
	refs   *filter.Set
	listed map[blob.ID]bool // by the last look
	found  []blob.ID        // for the next
	out    listedObjects
}

// bucket deletes objects that neither a mark nor a reference names, in this look
// nor in the one before, and that are older than a day.
func (w *worker) bucket(ctx context.Context, part string, store Swept, letter int) error {
	b := &bucketeer{worker: w, store: store, marks: filter.New(store.IDs), refs: filter.New(store.IDs), listed: map[blob.ID]bool{}}
	var err error
	if b.bs, err = w.Store(ctx, store.ID); err != nil {
		return err
	}
	if err := b.load(ctx, letter); err != nil {
		return err
	}
	if err := b.last(ctx, part); err != nil {
		return err
	}
	if b.now, err = w.storeTime(ctx, b.bs); err != nil {
		return err
	}
	for info, err := range b.bs.List(ctx, letters[letter:letter+1]) {
		if err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		if err := w.item(ctx); err != nil {
			return err
		}
		if err := b.object(ctx, info); err != nil {
			return err
		}
	}
	if err := b.list(ctx); err != nil {
		return err
	}
	_, err = settle(ctx, w.Collector, w.round.ID, part, b.out)
	return err
}

// load reads the filters of what marks and references name.
func (b *bucketeer) load(ctx context.Context, letter int) error {
	marks, err := b.marked(ctx)
	if err != nil {
		return err
	}
	var sweeps []marked
	for d := range len(hexDigits) {
		s, closed, err := outcome[swept](ctx, b.Collector, b.round.ID, sweepPart(b.store.ID, d))
		if err != nil {
			return err
		}
		if !closed {
			return fmt.Errorf("%w: %s", ErrNotYet, sweepPart(b.store.ID, d))
		}
		sweeps = append(sweeps, marked{To: filter.Prefixes, Objects: map[string]blob.ID{b.store.ID: s.Blobs}})
	}
	from, to, store := 8*letter, 8*(letter+1), b.store.ID
	if err := b.unite(ctx, b.bs, b.marks, from, to, marks, func(m marked) blob.ID { return m.IDs[store] }); err != nil {
		return err
	}
	return b.unite(ctx, b.bs, b.refs, from, to, sweeps, func(m marked) blob.ID { return m.Objects[store] })
}

// last reads what the last look has found.
func (b *bucketeer) last(ctx context.Context, part string) error {
	if b.round.LastBucket == nil {
		return nil
	}
	before, ok, err := outcome[listedObjects](ctx, b.Collector, b.round.LastBucket.ID, part)
	if err != nil || !ok {
		return err
	}
	r, err := b.reader(ctx, b.round.LastBucket.ID, before.List)
	for ; err == nil && r.more; err = r.advance(ctx) {
		b.listed[blob.ID(r.name)] = true
	}
	return err
}

func (b *bucketeer) object(ctx context.Context, info blob.Info) error {
	b.out.Tally.Objects++
	at := folderOf(info.ID)
	if b.plant != plantBucket && b.marks.Has(at, []byte(info.ID)) || b.refs.Has(at, []byte(info.ID)) {
		return nil
	}
	if !b.listed[info.ID] || b.now.Sub(info.Modified) <= leastAge {
		if most := b.Registry.Settings().GCOrphanCandidates / int64(len(letters)); int64(len(b.found)) < max(most, 1) {
			b.found = append(b.found, info.ID)
		}
		return nil
	}
	if !b.round.Dry {
		if err := b.bs.Delete(ctx, info.ID); err != nil {
			if ctx.Err() != nil {
				return err
			}
			b.out.Tally.Failures++
			b.Log.WarnContext(ctx, "delete an object that nothing names", "store", b.store.ID, "blob", info.ID, "error", err)
			return nil
		}
	}
	b.out.Tally.Orphans++
	b.out.Tally.OrphanBytes += info.Size
	return nil
}

// list writes down what was found.
func (b *bucketeer) list(ctx context.Context) error {
	b.out.Tally.Candidates = int64(len(b.found))
	if b.round.Dry {
		return nil
	}
	slices.Sort(b.found)
	l, err := b.lister(b.round.ID)
	if err != nil {
		return err
	}
	for _, id := range b.found {
		if err := l.add(ctx, []byte(id), ""); err != nil {
			return err
		}
	}
	b.out.List, err = l.end(ctx)
	return err
}

// storeTime asks a store what time it is, by writing something to it.
func (w *worker) storeTime(ctx context.Context, bs blob.Store) (time.Time, error) {
	name, err := w.ids.NewID()
	if err != nil {
		return time.Time{}, err
	}
	id := blob.WorkID(w.round.ID, name)
	out, err := bs.Create(ctx, id, 1)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store's time: %w", err)
	}
	if _, err = bytes.NewReader([]byte{0}).WriteTo(out); err == nil {
		err = out.Commit(ctx)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store's time: %w", errors.Join(err, out.Abort(context.WithoutCancel(ctx))))
	}
	info, err := bs.Stat(ctx, id)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store's time: %w", err)
	}
	return info.Modified, bs.Delete(ctx, id)
}

// staleUploads is what stores with multipart uploads do about those that nobody
// goes on with.
type staleUploads interface {
	StaleUploads(ctx context.Context, idle time.Duration) (aborted int, err error)
}

// multipart aborts multipart uploads that got no part for a week.
func (w *worker) multipart(ctx context.Context, part, store string) error {
	var out done
	bs, err := w.Store(ctx, store)
	if err != nil {
		return err
	}
	if s, ok := blob.As[staleUploads](bs); ok {
		n, err := s.StaleUploads(ctx, idleUpload)
		out.Tally.Sessions += int64(n)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			out.Tally.Failures++
			w.Log.WarnContext(ctx, "abort multipart uploads", "store", store, "error", err)
		}
	}
	_, err = settle(ctx, w.Collector, w.round.ID, part, out)
	return err
}
