package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

// Removed is what was removed.
type Removed struct {
	Artifacts int64 `json:"artifacts"`
	Bytes     int64 `json:"bytes"`
}

// Add returns the sum.
func (r Removed) Add(o Removed) Removed { return Removed{r.Artifacts + o.Artifacts, r.Bytes + o.Bytes} }

// errNewer ends a removal of what was written since it was decided on.
var errNewer = errors.New("repo: written since")

// RemoveRecord removes a record if it is still what was read, and what the
// format removes along with it, such as the other files of a version, unless
// that was written after before. false: it is another by now. The scopes
// concerned are stamped.
func (s *Service) RemoveRecord(ctx context.Context, c *config.Repository, n record.Named, before time.Time) (bool, error) {
	if loaded, ok := s.Registry.RepositoryByID(c.ID); ok {
		c = loaded
	}
	r, err := s.repository(c)
	if err != nil {
		return false, err
	}
	if err := s.writable(); err != nil {
		return false, err
	}
	b := &hosted{service: s, repo: r}
	_, err = s.Records.Delete(ctx, r.space, n.Scope, n.Name, func(now record.Record) error {
		if now.Since != n.Record.Since || now.Nonce != n.Record.Nonce {
			return errNewer
		}
		return nil
	})
	switch {
	case errors.Is(err, errNewer):
		return false, nil
	case errors.Is(err, formats.ErrNotFound):
		return true, nil // with another of its version
	case err != nil:
		return false, fmt.Errorf("remove %s/%s: %w", c.Name, formats.Join(n.Scope, n.Name), err)
	}
	needed, err := s.removeAlong(ctx, b, n, before)
	if err != nil || !needed {
		return true, err
	}
	return false, s.RestoreRecord(ctx, c, n)
}

// removeAlong asks the format what a removal of the record takes along. needed:
// something that was written since points at it.
func (s *Service) removeAlong(ctx context.Context, b *hosted, n record.Named, before time.Time) (needed bool, err error) {
	tx, err := newTx(ctx, b, nil, Precondition{})
	if err != nil {
		return false, err
	}
	defer tx.close(ctx)
	tx.gone = &n
	path := clientPath(n)
	op, ok := b.repo.format.Route(formats.Req{Method: http.MethodDelete, Path: path})
	if ok && op.Kind == formats.Delete {
		if err := b.repo.format.Accept(ctx, op, nil, tx); err != nil && !errors.Is(err, formats.ErrNotFound) {
			return false, fmt.Errorf("remove what belongs to %s/%s: %w", b.repo.Name, path, err)
		}
	}
	for _, d := range tx.deletes {
		_, err := s.Records.Delete(ctx, b.repo.space, d.Scope, d.Name, func(now record.Record) error {
			if now.Since > before.UnixNano() {
				return errNewer
			}
			return tx.retired.check(d, now)
		})
		switch {
		case errors.Is(err, errNewer):
			needed = needed || tx.retired != nil
		case err != nil && !errors.Is(err, formats.ErrNotFound):
			return needed, fmt.Errorf("remove %s/%s: %w", b.repo.Name, d.Key(), err)
		}
	}
	tx.deletes = append(tx.deletes, formats.Op{Scope: n.Scope})
	return needed, tx.stamp(ctx)
}

// RestoreRecord puts a record that was removed within the hour back, unless
// something is in its place by now.
func (s *Service) RestoreRecord(ctx context.Context, c *config.Repository, n record.Named) error {
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	where := c.Name + "/" + formats.Join(n.Scope, n.Name)
	rec, err := s.Records.GetAt(ctx, sp, n.Scope, n.Name, time.Unix(0, n.Record.Since))
	if err == nil {
		err = s.putBack(ctx, c, n, rec)
	}
	if err == nil && !n.Record.Hidden(n.Name) {
		err = s.Records.EnsureMarkers(ctx, sp, n.Scope)
	}
	if err == nil {
		err = s.Records.Touch(ctx, sp, n.Scope)
	}
	if err != nil {
		return fmt.Errorf("put %s back: %w", where, err)
	}
	return nil
}

// putBack writes a record where nothing is. If its bytes went meanwhile it is
// taken back.
func (s *Service) putBack(ctx context.Context, c *config.Repository, n record.Named, rec record.Record) error {
	r, err := s.repository(c)
	if err != nil {
		return err
	}
	copied, err := s.carry(ctx, rec, c.Store)
	if err != nil {
		return err
	}
	copied.rec.Commit = ""
	out, err := s.Records.Put(ctx, r.space, n.Scope, n.Name, copied.rec, keepFirst)
	if err != nil || out.Same {
		return err
	}
	if err := copied.confirm(ctx, s); err != nil {
		return s.undo(ctx, r, n.Scope, n.Name, out, err)
	}
	return nil
}

// OpenRecord opens the bytes of a record.
func (s *Service) OpenRecord(ctx context.Context, rec record.Record) (io.ReadCloser, error) {
	if rec.Blob == "" {
		return inlineOpener(rec.Inline)(ctx, 0, -1)
	}
	return s.opener(rec.Store, rec.Blob, rec.Sums)(ctx, 0, -1)
}

// Format returns a format of this server.
func (s *Service) Format(name string) (formats.Format, bool) {
	f, ok := s.formats[name]
	return f, ok
}

// Until is a time before which everything was written that was acknowledged by
// now, whichever node did: their clocks differ.
func (s *Service) Until() time.Time { return s.Now().Add(clockSkew) }

// removePage is how many records are removed between two saves.
const removePage = 256

// BulkDelete removes from one shard what lies at or below a directory and was
// written before a time. save is called after each page with what was removed
// since the last call; an error of it ends the work. Doing it again goes on.
func (s *Service) BulkDelete(ctx context.Context, repositoryID, dir string, shard int, before time.Time, save func(Removed) error) error {
	c, err := s.Registry.Stored(ctx, repositoryID)
	if err != nil {
		return fmt.Errorf("bulk delete: %w", err)
	}
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	var done Removed
	n := 0
	for rec, err := range s.Records.Below(ctx, sp, shard, dir, record.Consistent) {
		if err != nil {
			return fmt.Errorf("bulk delete in %s: %w", c.Name, err)
		}
		if rec.Record.Since > before.UnixNano() {
			continue
		}
		ok, err := s.RemoveRecord(ctx, c, rec, before)
		if err != nil {
			return err
		}
		if ok && !rec.Record.Hidden(rec.Name) {
			done = done.Add(Removed{1, rec.Record.Size})
		}
		if n++; n%removePage == 0 {
			if err := save(done); err != nil {
				return err
			}
			done = Removed{}
		}
	}
	return save(done)
}
