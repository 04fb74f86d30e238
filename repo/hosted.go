package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"granary/blob"
	"granary/formats"
	"granary/repo/config"
	"granary/repo/record"
)

// ErrForbidden is returned when the caller lacks a right on a member of the
// group that it addressed; 403.
var ErrForbidden = errors.New("forbidden")

// hosted is the view of stored records.
type hosted struct {
	service *Service
	repo    *repository
	moment  *moment // nil: now
	// behind: it is a member of a group, and not the first.
	behind bool
}

var _ target = (*hosted)(nil)

func (h *hosted) base() *hosted     { return h }
func (h *hosted) targets() []target { return []target{h} }

// Stamps of hosted and cached scopes differ in their first letter: a hosted
// scope without records does not exist, an upstream's document without records
// does.
const (
	hostedStamp = "h:"
	cacheStamp  = "c:"
)

// Stamp reads consistently. A scope with records and no stamp, which a crash
// between the two leaves behind, is stamped now.
func (h *hosted) Stamp(ctx context.Context, scope string) (string, error) {
	read := h.stored
	if h.moment != nil {
		read = h.pastStamp
	}
	stamp, err := read(ctx, scope)
	if err != nil || stamp == "" {
		return "", err
	}
	return stamp + h.repo.rulesStamp(), nil
}

// stored is the stamp of what is stored, whatever of it is shown.
func (h *hosted) stored(ctx context.Context, scope string) (string, error) {
	stamp, err := h.service.Records.Stamp(ctx, h.repo.space, scope)
	if err != nil {
		return "", fmt.Errorf("read the stamp of %s/%s: %w", h.repo.Name, scope, err)
	}
	if stamp == "" {
		if stamp, err = h.heal(ctx, scope); err != nil || stamp == "" {
			return "", err
		}
	}
	return hostedStamp + stamp, nil
}

func (h *hosted) heal(ctx context.Context, scope string) (string, error) {
	for _, err := range h.all(ctx, scope, "") {
		if err != nil {
			return "", err
		}
		if err := h.service.Records.Touch(ctx, h.repo.space, scope); err != nil {
			return "", fmt.Errorf("stamp %s/%s: %w", h.repo.Name, scope, err)
		}
		return h.service.Records.Stamp(ctx, h.repo.space, scope)
	}
	return "", nil
}

// Records reads consistently.
func (h *hosted) Records(ctx context.Context, scope string) iter.Seq2[formats.Record, error] {
	return h.RecordsFrom(ctx, scope, "")
}

var _ formats.Ranger = (*hosted)(nil)

// RecordsFrom reads consistently.
func (h *hosted) RecordsFrom(ctx context.Context, scope, from string) iter.Seq2[formats.Record, error] {
	return h.repo.shown(h.all(ctx, scope, from))
}

// all are the records with those that are not shown.
func (h *hosted) all(ctx context.Context, scope, from string) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for n, err := range h.named(ctx, scope, from) {
			if !yield(n.Record.Public(n.Scope, n.Name), err) || err != nil {
				return
			}
		}
	}
}

// named are all of them as they are stored.
func (h *hosted) named(ctx context.Context, scope, from string) iter.Seq2[record.Named, error] {
	return func(yield func(record.Named, error) bool) {
		for n, err := range h.service.Records.Scope(ctx, h.repo.space, scope, h.when(), record.From(from)) {
			if err != nil {
				yield(record.Named{}, fmt.Errorf("read the records of %s/%s: %w", h.repo.Name, scope, err))
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

// when is the option that reads records of the view's time, consistently.
func (h *hosted) when() record.Option {
	if h.moment != nil {
		return record.At(h.moment.at)
	}
	return record.Consistent
}

func (h *hosted) Open(ctx context.Context, op formats.Op) (*formats.Content, error) {
	return h.find(ctx, op, false)
}

// find takes an immutable hit as it comes; a path that may be overwritten, and
// every miss, is read consistently.
func (h *hosted) find(ctx context.Context, op formats.Op, fresh bool) (*formats.Content, error) {
	if err := h.repo.inQuarantine(op.Scope, op.Name, op.Upstream()); err != nil {
		return nil, err
	}
	mode := record.Latest
	if h.lasting(op) && !fresh {
		mode = record.Hit
	}
	rec, err := h.get(ctx, op.Scope, op.Name, mode)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", h.repo.Name, op.Key(), err)
	}
	content := h.content(op, rec)
	if err := h.repo.inQuarantine(op.Scope, h.repo.told(content.Record), op.Upstream()); err != nil {
		return nil, err
	}
	return content, nil
}

// lasting tells whether the bytes at a path never change: what the format says,
// unless the repository lets what is published be overwritten. A path that names
// a digest has no others.
func (h *hosted) lasting(op formats.Op) bool {
	overwritten := h.repo.Type == config.Hosted && h.repo.Conflicts() == config.Allow
	return op.Fixed && (!overwritten || !op.Sum.IsZero())
}

// get reads one record of the view's time.
func (h *hosted) get(ctx context.Context, scope, name string, mode record.Mode) (record.Record, error) {
	if h.moment != nil {
		return h.service.Records.GetAt(ctx, h.repo.space, scope, name, h.moment.at)
	}
	rec, _, err := h.service.Records.Get(ctx, h.repo.space, scope, name, mode)
	return rec, err
}

// content makes a record ready to be sent. The blob store is asked only when
// the bytes are.
func (h *hosted) content(op formats.Op, rec record.Record) *formats.Content {
	c := &formats.Content{
		Record: rec.Public(op.Scope, op.Name), Fixed: h.lasting(op), Inline: rec.Inline, BlobID: string(rec.Blob),
		Accessed: func() { h.service.Records.Accessed(h.repo.space, op.Scope, op.Name) },
	}
	if rec.Blob == "" {
		c.Open = inlineOpener(rec.Inline)
		if err := intact(rec.Inline, rec.Sums); err != nil {
			c.Inline = nil
			c.Open = func(context.Context, int64, int64) (io.ReadCloser, error) {
				return nil, fmt.Errorf("%s/%s: %w", h.repo.Name, op.Key(), err)
			}
		}
		return c
	}
	c.Open = func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		return h.openBlob(ctx, op, rec, offset, n)
	}
	if s, ok := h.service.Registry.StoreByID(rec.Store); ok && !s.Suspect.IsZero() {
		c.Lost = func(ctx context.Context) (bool, error) {
			_, err := h.service.present(ctx, rec.Store, rec.Blob, rec.Sums)
			if errors.Is(err, formats.ErrCorrupt) {
				return true, nil
			}
			return false, err
		}
	}
	if h.repo.PresignedRedirects {
		c.Presign = h.presigner(rec)
	}
	return c
}

// presigner lets the blob store answer a download. A URL is good for less than
// the collector waits before it deletes what it condemned.
func (h *hosted) presigner(rec record.Record) func(context.Context, string) (string, bool, error) {
	return func(ctx context.Context, contentType string) (string, bool, error) {
		store, err := h.service.Store(ctx, rec.Store)
		if err != nil {
			return "", false, err
		}
		grace := time.Duration(h.service.Registry.Settings().GCGrace) * time.Second
		ttl := min(grace/5, presignTime)
		if ttl < time.Second {
			return "", false, nil
		}
		id, err := h.service.present(ctx, rec.Store, rec.Blob, rec.Sums)
		if errors.Is(err, formats.ErrCorrupt) {
			return "", false, nil // whoever opens it says so
		}
		if err != nil {
			return "", false, err
		}
		return blob.Presign(ctx, store, id, ttl, blob.Header{ContentType: contentType})
	}
}

// presignTime is how long a presigned URL is good for.
const presignTime = 10 * time.Minute

func inlineOpener(b []byte) func(context.Context, int64, int64) (io.ReadCloser, error) {
	return func(_ context.Context, offset, n int64) (io.ReadCloser, error) {
		rest := b[min(max(offset, 0), int64(len(b))):]
		if n >= 0 && n < int64(len(rest)) {
			rest = rest[:n]
		}
		return io.NopCloser(bytes.NewReader(rest)), nil
	}
}

// openBlob opens a record's bytes. Where they are missing the reference by hash
// is followed, then the record read again, consistently; only then is it an
// error, and the reference says from then on that the bytes are lost, so that
// the next upload of that content heals every record of it.
func (h *hosted) openBlob(ctx context.Context, op formats.Op, rec record.Record, offset, n int64) (io.ReadCloser, error) {
	open := h.service.opener(rec.Store, rec.Blob, rec.Sums)
	r, err := open(ctx, offset, n)
	if !errors.Is(err, formats.ErrCorrupt) {
		return r, err
	}
	now, again := h.get(ctx, op.Scope, op.Name, record.Latest)
	if again == nil && now.Blob != rec.Blob && bytes.Equal(now.Sums.BLAKE3, rec.Sums.BLAKE3) {
		return h.service.opener(now.Store, now.Blob, now.Sums)(ctx, offset, n)
	}
	return nil, fmt.Errorf("%s/%s: %w", h.repo.Name, op.Key(), err)
}

// Dir yields what lies in a directory, page after page.
func (h *hosted) Dir(ctx context.Context, dir string) iter.Seq2[formats.Entry, error] {
	return h.dirFrom(ctx, dir, "")
}

var _ formats.Pager = (*hosted)(nil)

// DirAfter begins in the middle of a directory.
func (h *hosted) DirAfter(ctx context.Context, dir, after string) iter.Seq2[formats.Entry, error] {
	return h.dirFrom(ctx, dir, record.After(after))
}

func (h *hosted) dirFrom(ctx context.Context, dir string, after record.Cursor) iter.Seq2[formats.Entry, error] {
	if h.moment != nil {
		return h.pastDir(ctx, dir, after)
	}
	return func(yield func(formats.Entry, error) bool) {
		for {
			page, err := h.service.Records.Dir(ctx, h.repo.space, dir, after, dirPage)
			if err != nil {
				yield(formats.Entry{}, fmt.Errorf("list %s/%s: %w", h.repo.Name, dir, err))
				return
			}
			for _, l := range page.Lines {
				if !yield(entry(dir, l), nil) {
					return
				}
			}
			if !page.More {
				return
			}
			after = page.Next
		}
	}
}

const dirPage = 1000

func entry(dir string, l record.Line) formats.Entry {
	e := formats.Entry{Name: l.Name, Dir: l.Dir, Count: l.Count, Size: l.Bytes, Time: time.Unix(0, l.Modified).UTC()}
	if !l.Dir {
		rec := l.Record.Public(dir, l.Name)
		e.Count, e.Size, e.File = 0, rec.Size, &rec
		e.Time = rec.Time
	}
	return e
}
