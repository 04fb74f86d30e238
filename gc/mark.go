package gc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"granary/blob"
	"granary/gc/filter"
	"granary/kv"
	"granary/repo"
	"granary/repo/record"
)

// marker marks what some shards need.
type marker struct {
	*worker
	from, to int                    // prefixes
	content  map[string]*filter.Set // by store
	ids      map[string]*filter.Set // by store, in a round with a bucket pass
	counts   []counted
	tally    Tally
	first    bool // the pass that counts and tidies
}

// mark reads a batch of shards, stores the filters, and only then closes the
// part, naming them. It has no cursor: filters that were not stored are lost with
// their worker, so who takes over begins again.
func (w *worker) mark(ctx context.Context, part string, batch, pass int) error {
	p, ok, err := outcome[plan](ctx, w.Collector, w.round.ID, planPart(batch))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: there is no plan of batch %d", ErrOver, batch)
	}
	m := &marker{worker: w, content: map[string]*filter.Set{}, ids: map[string]*filter.Set{}, first: pass == 0}
	m.from, m.to = w.round.group(pass)
	spans := p.Spans[w.skipped(part):]
	for i, s := range spans {
		if err := m.span(ctx, s); err != nil {
			w.interrupted(part, len(p.Spans)-len(spans)+i)
			return err
		}
	}
	out := marked{From: m.from, To: m.to, Counts: m.counts, Tally: m.tally}
	if !m.first {
		out.Tally = Tally{}
	}
	if out.Objects, err = w.storeFilters(ctx, m.content, m.from, m.to); err != nil {
		return err
	}
	if out.IDs, err = w.storeFilters(ctx, m.ids, m.from, m.to); err != nil {
		return err
	}
	round := w.round.ID
	if w.plant == plantLate {
		if now, _, err := w.current(ctx, w.round.Dry); err == nil && now != nil {
			round = now.ID
		}
	}
	_, err = settle(ctx, w.Collector, round, part, out)
	return err
}

// span marks shards one after the other.
func (m *marker) span(ctx context.Context, s span) error {
	c := counted{Repo: s.Repo, Before: s.Before}
	for shard := s.From; shard < s.To; shard++ {
		if err := m.shard(ctx, s, shard, &c); err != nil {
			return err
		}
	}
	m.counts = append(m.counts, c)
	return nil
}

// shard reads sessions, publications and documents, records, and history, in
// this order and each to its end. A name moves only that way, and is in its new
// place before it leaves the old one, so that it can't slip through.
func (m *marker) shard(ctx context.Context, s span, shard int, c *counted) error {
	sp := s.space()
	steps := []func() error{
		func() error { return m.uploads(ctx, sp, shard) },
		func() error { return m.index(ctx, s, shard) },
		func() error { return m.records(ctx, s, shard, c) },
		func() error { return m.history(ctx, sp, shard) },
	}
	if m.plant == plantHistoryFirst {
		steps[2], steps[3] = steps[3], steps[2]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// needs notes that something needs a blob.
func (m *marker) needs(n repo.Named) {
	s, ok := m.round.store(n.Store)
	if !ok {
		return // made after the round began: it is not swept
	}
	if len(n.Hash) > 0 && int(n.Hash[0]) >= m.from && int(n.Hash[0]) < m.to {
		// By content, not by blob id: the reference may name another blob by now
		// that the record's has been healed.
		set(m.content, n.Store, s.Filter).Add(n.Hash[0], n.Hash)
	}
	if !m.round.Bucket || n.Blob == "" {
		return
	}
	if at := folderOf(n.Blob); int(at) >= m.from && int(at) < m.to {
		set(m.ids, n.Store, s.IDs).Add(at, []byte(n.Blob))
	}
}

func set(sets map[string]*filter.Set, store string, p filter.Params) *filter.Set {
	s := sets[store]
	if s == nil {
		s = filter.New(p)
		sets[store] = s
	}
	return s
}

// uploads ends the sessions that were given up, and reads those whose partition
// falls to a shard.
func (m *marker) uploads(ctx context.Context, sp kv.Space, shard int) error {
	if m.Upload == nil {
		return nil
	}
	for p := shard; p < filter.Prefixes; p += max(sp.Shards, 1) {
		prefix := fmt.Sprintf("%02x", p)
		if m.SweepUploads != nil && m.first && !m.round.Dry {
			n, err := m.SweepUploads(ctx, sp, prefix)
			m.tally.Sessions += int64(n)
			if err != nil {
				return err
			}
		}
		err := m.scan(ctx, kv.UploadPartition(sp.Repo, prefix), "", "", func(item kv.Item) error {
			m.tally.Uploads++
			names, err := m.Upload(item)
			for _, n := range names {
				m.needs(n)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// index reads publications and documents, and removes what is of no use.
func (m *marker) index(ctx context.Context, s span, shard int) error {
	sp := s.space()
	t := m.tidier(s)
	err := m.scan(ctx, sp.Index(shard), "", "", func(item kv.Item) error {
		m.tally.Index++
		x, err := repo.ReadIndexed(item)
		if err != nil {
			return err
		}
		for _, n := range x.Names {
			m.needs(n)
		}
		return t.indexed(ctx, item, x)
	})
	if err != nil {
		return err
	}
	return t.end(ctx)
}

// records reads records, counts them, and looks after directory markers.
func (m *marker) records(ctx context.Context, s span, shard int, c *counted) error {
	sp := s.space()
	var empty []kv.Item
	err := m.scan(ctx, sp.Records(shard), "", "", func(item kv.Item) error {
		_, name, isMarker := kv.SplitRecord(item.Sort)
		if isMarker {
			e, err := record.EmptyMarker(item)
			if e && len(empty) < maxEmpty {
				empty = append(empty, item)
			}
			return err
		}
		r, err := m.record(item)
		if err != nil {
			return err
		}
		if !r.Deleted {
			m.tally.Records++
			if !r.Hidden(name) {
				c.Count++
				c.Bytes += r.Size
			}
		}
		return nil
	})
	if err != nil || !m.first || m.round.Dry {
		return err
	}
	for _, item := range empty {
		removed, err := m.Records.TidyMarker(ctx, sp, item, m.round.Number)
		if err != nil {
			return err
		}
		if removed {
			m.tally.Markers++
		}
	}
	return nil
}

// maxEmpty bounds the empty markers of a shard that one round looks after.
const maxEmpty = 10_000

func (m *marker) record(item kv.Item) (record.Content, error) {
	r, err := record.ContentOf(item)
	if err == nil && r.Blob != "" {
		m.needs(repo.Named{Store: r.Store, Hash: r.Sums.BLAKE3, Blob: r.Blob})
	}
	return r, err
}

func (m *marker) history(ctx context.Context, sp kv.Space, shard int) error {
	return m.scan(ctx, sp.History(shard), "", "", func(item kv.Item) error {
		m.tally.History++
		n, ok, err := repo.ReadHistory(item)
		if ok {
			m.needs(n)
		}
		return err
	})
}

// storeFilters writes sets as objects, each into its own store.
func (w *worker) storeFilters(ctx context.Context, sets map[string]*filter.Set, from, to int) (map[string]blob.ID, error) {
	out := map[string]blob.ID{}
	for store, s := range sets {
		id, err := w.storeFilter(ctx, store, s, from, to)
		if err != nil {
			return nil, err
		}
		out[store] = id
	}
	return out, nil
}

func (w *worker) storeFilter(ctx context.Context, store string, s *filter.Set, from, to int) (blob.ID, error) {
	bs, err := w.Store(ctx, store)
	if err != nil {
		return "", err
	}
	name, err := w.ids.NewID()
	if err != nil {
		return "", err
	}
	id := blob.WorkID(w.round.ID, name)
	size := int64(to-from) * s.Section()
	out, err := bs.Create(ctx, id, size)
	if err != nil {
		return "", err
	}
	buffered := bufio.NewWriterSize(out, int(min(size, 256<<10)))
	if err = s.Write(buffered, string(id), from, to); err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = out.Commit(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("store filters: %w", errors.Join(err, out.Abort(context.WithoutCancel(ctx))))
	}
	return id, nil
}

// folderOf gives blobs whose paths begin with the same letter neighbouring
// prefixes: eight for each.
func folderOf(id blob.ID) byte {
	path := id.Path()
	if len(path) < 2 {
		return 0
	}
	a, b := strings.IndexByte(letters, path[0]), strings.IndexByte(letters, path[1])
	return byte(max(a, 0)*8 + max(b, 0)/4)
}
