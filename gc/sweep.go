package gc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"granary/blob"
	"granary/gc/filter"
	"granary/kv"
	"granary/repo/refs"
)

// ErrFilter is returned by a sweep that can't have the filters of a mark whole:
// the round ends without it.
var ErrFilter = errors.New("gc: the marks of the round are not whole")

// sweeper goes through the references of some prefixes of a store.
type sweeper struct {
	*worker
	store   Swept
	bs      blob.Store
	marks   []marked
	earlier swept       // what the last round left in this part
	ids     *filter.Set // of the blob ids that references name; nil without a bucket pass
	doomed  []doomed
	out     swept
}

// doomed is a reference whose blob is being deleted.
type doomed struct {
	key     kv.Key
	version kv.Version
	ref     refs.Ref
}

// atOnce is how many blobs are deleted in one request.
const atOnce = 500

// sweep goes through sixteen prefixes of a store, each with its own filter.
func (w *worker) sweep(ctx context.Context, part string, store Swept, digit int) error {
	s := &sweeper{worker: w, store: store}
	var err error
	if s.marks, err = w.marked(ctx); err != nil {
		return err
	}
	if s.bs, err = w.Store(ctx, store.ID); err != nil {
		return err
	}
	if last := w.round.Last; last != nil {
		if s.earlier, _, err = outcome[swept](ctx, w.Collector, last.ID, part); err != nil {
			return err
		}
	}
	if w.round.Bucket {
		s.ids = filter.New(store.IDs)
	}
	s.out.Lists = map[int]list{}
	needed, from, to := filter.New(store.Filter), 16*digit, 16*(digit+1)
	err = w.unite(ctx, s.bs, needed, from, to, s.marks, func(m marked) blob.ID { return m.Objects[store.ID] })
	if err != nil {
		return err
	}
	for p := from; p < to; p++ {
		if err := s.prefix(ctx, p, needed); err != nil {
			return err
		}
		needed.Drop(byte(p))
	}
	if s.ids != nil {
		if s.out.Blobs, err = w.storeFilter(ctx, store.ID, s.ids, 0, filter.Prefixes); err != nil {
			return err
		}
	}
	_, err = settle(ctx, w.Collector, w.round.ID, part, s.out)
	return err
}

// marked returns the outcomes of all parts of the mark. ErrNotYet if one of
// them is open.
func (w *worker) marked(ctx context.Context) ([]marked, error) {
	var out []marked
	for b := range w.round.Batches {
		for p := range w.round.Passes {
			m, closed, err := outcome[marked](ctx, w.Collector, w.round.ID, markPart(b, p))
			if err != nil {
				return nil, err
			}
			if !closed {
				return nil, fmt.Errorf("%w: %s", ErrNotYet, markPart(b, p))
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// unite reads the filters of some prefixes: all that closed parts of the mark
// name, and nothing else.
func (w *worker) unite(ctx context.Context, bs blob.Store, set *filter.Set, from, to int, marks []marked, object func(marked) blob.ID) error {
	for _, m := range marks {
		id, first, end := object(m), max(from, m.From), min(to, m.To)
		if id == "" || first >= end {
			continue
		}
		err := w.merge(ctx, bs, set, id, m.From, first, end)
		if err != nil && w.plant == plantNoFilter {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFilter, err)
		}
	}
	return nil
}

// merge reads sections of an object that begins with that of prefix begin.
func (w *worker) merge(ctx context.Context, bs blob.Store, set *filter.Set, id blob.ID, begin, from, to int) error {
	r, err := bs.Open(ctx, id, int64(from-begin)*set.Section(), int64(to-from)*set.Section())
	if err != nil {
		return err
	}
	for p := from; p < to && err == nil; p++ {
		err = set.Merge(r, string(id), byte(p))
	}
	return errors.Join(err, r.Close())
}

// prefix sweeps one prefix.
func (s *sweeper) prefix(ctx context.Context, p int, needed *filter.Set) error {
	s.out.Rate = max(s.out.Rate, needed.Rate(byte(p)))
	var lastRound blob.ID
	if s.round.Last != nil {
		lastRound = s.round.Last.ID
	}
	earlier, err := s.reader(ctx, lastRound, s.earlier.Lists[p])
	if err != nil {
		return err
	}
	waiting, err := s.lister(s.round.ID)
	if err != nil {
		return err
	}
	err = s.scan(ctx, kv.ReferencePartition(s.store.ID, fmt.Sprintf("%02x", p)), "", "", func(item kv.Item) error {
		return s.reference(ctx, item, needed, earlier, waiting)
	})
	if err == nil {
		err = s.delete(ctx)
	}
	if err != nil {
		return err
	}
	if s.round.Dry {
		return nil
	}
	l, err := waiting.end(ctx)
	if l.Count > 0 {
		s.out.Lists[p] = l
	}
	return err
}

// reference decides on one reference.
func (s *sweeper) reference(ctx context.Context, item kv.Item, marks *filter.Set, earlier *reader, waiting *lister) error {
	ref, err := refs.Decode(item)
	if err != nil {
		return err
	}
	hash, err := hex.DecodeString(item.Sort)
	if err != nil || len(hash) == 0 {
		return fmt.Errorf("reference %v is no BLAKE3", item.Key)
	}
	version, listed, err := earlier.find(ctx, hash)
	if err != nil {
		return err
	}
	listed = listed && version == string(item.Version)
	if s.plant == plantState && s.round.Last != nil {
		listed = true
	}
	s.out.References++
	s.out.Tally.References++
	s.count(ref, 1)
	if s.ids != nil && ref.State != refs.Deleting {
		s.ids.Add(folderOf(ref.Blob), []byte(ref.Blob))
	}
	needed := marks.Has(hash[0], hash)
	switch {
	case ref.State == refs.Deleting:
		// Left over: what decided to delete it was right then, and no use since has
		// brought other bytes.
		return s.doom(ctx, doomed{item.Key, item.Version, ref})
	case needed && ref.State == refs.Condemned:
		return s.acquit(ctx, item, ref)
	case needed:
		return nil
	case (ref.State == refs.Condemned || ref.State == refs.Lost) && listed:
		return s.condemnedTwice(ctx, item, ref)
	case ref.State == refs.Condemned:
		return s.wait(ctx, waiting, hash, item.Version)
	case ref.Since < s.round.Started && ref.State == refs.Lost:
		// It stays lost: condemned, the next upload would make it live as it is.
		s.out.Tally.Condemned++
		return s.wait(ctx, waiting, hash, item.Version)
	case ref.Since < s.round.Started:
		return s.condemn(ctx, item, ref, hash, waiting)
	}
	return nil
}

// count counts what the store keeps. Of a lost blob there is nothing in it.
func (s *sweeper) count(ref refs.Ref, n int64) {
	if ref.State == refs.Lost {
		return
	}
	s.out.Kept.Blobs += n
	s.out.Kept.Bytes += n * ref.Size
}

func (s *sweeper) wait(ctx context.Context, waiting *lister, hash []byte, version kv.Version) error {
	s.out.Tally.Waiting++
	if s.round.Dry {
		return nil
	}
	return waiting.add(ctx, hash, string(version))
}

func (s *sweeper) condemn(ctx context.Context, item kv.Item, ref refs.Ref, hash []byte, waiting *lister) error {
	s.out.Tally.Condemned++
	if s.round.Dry {
		return nil
	}
	version, ok, err := s.Refs.Condemn(ctx, item, ref)
	if err != nil || !ok {
		return err
	}
	return s.wait(ctx, waiting, hash, version)
}

func (s *sweeper) acquit(ctx context.Context, item kv.Item, ref refs.Ref) error {
	s.out.Tally.Acquitted++
	if s.round.Dry {
		return nil
	}
	_, err := s.Refs.Acquit(ctx, item, ref)
	return err
}

// condemnedTwice is for a reference that was listed by the last round, was not
// touched since, and is not needed in this one either.
func (s *sweeper) condemnedTwice(ctx context.Context, item kv.Item, ref refs.Ref) error {
	if s.round.Dry {
		return s.doom(ctx, doomed{item.Key, item.Version, ref})
	}
	version, ok, err := s.Refs.Doom(ctx, item, ref)
	if err != nil || !ok {
		return err
	}
	return s.doom(ctx, doomed{item.Key, version, ref})
}

func (s *sweeper) doom(ctx context.Context, d doomed) error {
	s.doomed = append(s.doomed, d)
	if len(s.doomed) < atOnce {
		return nil
	}
	return s.delete(ctx)
}

// delete deletes blobs, and then their references.
func (s *sweeper) delete(ctx context.Context) error {
	all := s.doomed
	s.doomed = nil
	if len(all) == 0 {
		return nil
	}
	ids := make([]blob.ID, len(all))
	for i, d := range all {
		ids[i] = d.ref.Blob
	}
	if !s.round.Dry {
		if err := blob.DeleteMany(ctx, s.bs, ids); err != nil {
			if ctx.Err() != nil {
				return err
			}
			// They stay deleting; the next round goes on with them.
			s.out.Tally.Failures += int64(len(all))
			s.Log.WarnContext(ctx, "delete blobs", "store", s.store.ID, "blobs", len(all), "error", err)
			return nil
		}
	}
	for _, d := range all {
		if !s.round.Dry {
			if err := s.Refs.Remove(ctx, d.key, d.version); err != nil {
				return err
			}
		}
		s.count(d.ref, -1)
		s.out.Tally.Deleted++
		s.out.Tally.DeletedBytes += d.ref.Size
	}
	return nil
}
