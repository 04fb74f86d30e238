package repo

import (
	"context"
	"errors"
	"fmt"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

// Promotion copies what lies at some paths of one repository into another, all
// of it visible at once or nothing.
type Promotion struct {
	ID     string   `json:"id"`     // names the commit; never used twice
	Source string   `json:"source"` // ids
	Target string   `json:"target"`
	Paths  []string `json:"paths"` // files, or directories with all below
}

// maxPromoted bounds the paths of one promotion.
const maxPromoted = 1000

// CheckPromotion refuses what can't be promoted before anything is begun.
func (s *Service) CheckPromotion(ctx context.Context, source, target string, paths []string, access Access) (from, to *config.Repository, err error) {
	if from, err = s.configured(ctx, source); err != nil {
		return nil, nil, err
	}
	to, err = s.configured(ctx, target)
	switch {
	case errors.Is(err, formats.ErrNotFound):
		return nil, nil, formats.BadRequest("target: there is no repository %.64q", target)
	case err != nil:
		return nil, nil, err
	case !s.reads(from, access, 0):
		return nil, nil, fmt.Errorf("%w: read on every member of %s", ErrForbidden, from.Name)
	case to.ID == from.ID:
		return nil, nil, formats.BadRequest("target: is the repository itself")
	case to.Type != config.Hosted:
		return nil, nil, fmt.Errorf("%w: %s is not hosted", formats.ErrNotAllowed, to.Name)
	case to.Format != from.Format:
		return nil, nil, formats.BadRequest("target: is of format %s, not %s", to.Format, from.Format)
	case len(paths) == 0 || len(paths) > maxPromoted:
		return nil, nil, formats.BadRequest("paths: 1 to %d are needed", maxPromoted)
	}
	for _, p := range paths {
		if err := formats.CheckPath(p); err != nil {
			return nil, nil, fmt.Errorf("paths: %w", err)
		}
	}
	return from, to, nil
}

// reads tells whether the caller may read a repository and, of a group, all
// members: what is copied is what the group has for everybody.
func (s *Service) reads(c *config.Repository, access Access, depth int) bool {
	if !access(formats.VerbRead, c.Name) || depth > maxDepth {
		return false
	}
	for _, id := range c.Members {
		if m, ok := s.Registry.RepositoryByID(id); ok && !s.reads(m, access, depth+1) {
			return false
		}
	}
	return true
}

// The stages of a promotion, which are its cursors. What a stage has done it
// may do again.
const (
	promoteCopy   = ""
	promoteCommit = "commit"
	promoteTell   = "tell"
)

// Promote copies the records, hidden; makes them visible by one write; then
// stamps their scopes and counts them. save is called with the cursor of each
// next stage and what was copied. When the target's conflict policy refuses a
// record, what was copied is taken back and the error returned.
func (s *Service) Promote(ctx context.Context, p Promotion, cursor string, save func(cursor string, done Copied) error) error {
	c := Clone{Source: p.Source, Target: p.Target}
	from, to, err := s.ends(ctx, c)
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	sp := kv.Space{Repo: to.ID, Shards: to.Shards}
	m := &promoting{Service: s, Promotion: p, to: to, sp: sp}
	if cursor == promoteCopy {
		done, err := m.copy(ctx, from)
		if err == nil {
			// Without room it may be tried again; when that is given up, what was
			// copied is taken back.
			err = s.room(ctx, to, m.more, m.longer)
		}
		if RefusedForGood(err) {
			return errors.Join(err, s.AbandonPromotion(ctx, p))
		}
		if err != nil {
			return err
		}
		if err := save(promoteCommit, done); err != nil {
			return err
		}
		cursor = promoteCommit
	}
	if cursor == promoteCommit {
		if err := s.writable(); err != nil {
			return err
		}
		if err := s.Records.Commit(ctx, sp, p.ID); err != nil {
			return err
		}
		if err := save(promoteTell, Copied{}); err != nil {
			return err
		}
	}
	return m.tell(ctx)
}

// promoting is one run of a promotion.
type promoting struct {
	*Service
	Promotion
	to *config.Repository
	sp kv.Space
	// copied are the scopes and names of what was copied by this run; nil if
	// that is not all, or too much.
	copied [][2]string
	// more and longer are how many files and bytes this run adds to the target;
	// counted only where it has a quota.
	more, longer int64
}

// maxRemembered bounds copied.
const maxRemembered = 100_000

func (m *promoting) remember(n record.Named) {
	if m.copied == nil || len(m.copied) == maxRemembered {
		m.copied = nil
		return
	}
	m.copied = append(m.copied, [2]string{n.Scope, n.Name})
}

// RefusedForGood tells of an error of [Service.Promote] whether trying again is
// of no use: the target has something else, or what is to be promoted is gone.
func RefusedForGood(err error) bool {
	return errors.Is(err, formats.ErrExists) || errors.Is(err, formats.ErrNotFound) || errors.Is(err, formats.ErrCorrupt)
}

func (m *promoting) copy(ctx context.Context, from *config.Repository) (Copied, error) {
	h, err := m.handle(from, Everything, nil)
	if err != nil {
		return Copied{}, err
	}
	target, err := m.repository(m.to)
	if err != nil {
		return Copied{}, err
	}
	var all Copied
	m.copied = [][2]string{}
	for _, path := range m.Paths {
		n := int64(0)
		for rec, err := range h.at(ctx, path) {
			if err != nil {
				return all, err
			}
			done, err := m.one(ctx, rec, target)
			if err != nil {
				return all, err
			}
			all = all.Add(done)
			n++
			m.remember(rec)
		}
		if n == 0 {
			return all, fmt.Errorf("%s/%s: %w", from.Name, path, formats.ErrNotFound)
		}
	}
	return all, nil
}

func (m *promoting) one(ctx context.Context, n record.Named, to *repository) (Copied, error) {
	s, sp := m.Service, m.sp
	if err := s.writable(); err != nil {
		return Copied{}, err
	}
	where := formats.Join(n.Scope, n.Name)
	c, err := s.carry(ctx, n.Record, to.Store)
	if err != nil {
		return Copied{}, fmt.Errorf("promote %s: %w", where, err)
	}
	if c.lost {
		return Copied{}, fmt.Errorf("promote %s: %w", where, formats.ErrCorrupt)
	}
	c.rec.Commit, c.rec.Origin = m.ID, nil
	t := &tx{hosted: &hosted{service: s, repo: to}}
	if bounded(to.Repository) && !c.rec.Hidden(n.Name) {
		more, longer, err := t.growth(ctx, n.Scope, n.Name, c.rec.Size, true)
		if err != nil {
			return Copied{}, err
		}
		m.more, m.longer = m.more+more, m.longer+longer
	}
	out, err := m.put(ctx, n, c.rec, t)
	if err != nil {
		return Copied{}, fmt.Errorf("promote %s: %w", where, err)
	}
	if err := c.confirm(ctx, s); err != nil {
		return Copied{}, fmt.Errorf("promote %s: %w", where, errors.Join(err, s.Records.Abandon(ctx, sp, n.Scope, n.Name, m.ID)))
	}
	hidden := c.rec.Hidden(n.Name)
	if !hidden {
		if err := s.Records.EnsureMarkers(ctx, sp, n.Scope); err != nil {
			return Copied{}, err
		}
	}
	switch {
	case out.Same && out.Record.Commit != m.ID:
		return Copied{}, nil // it is there already
	case hidden:
		return Copied{Entries: 1}, nil
	}
	return Copied{Artifacts: 1, Bytes: c.rec.Size}, nil
}

// at yields the records behind the handle at a path: the file, and what is at
// or below the directory. What the format removes with a file belongs to it.
func (h *Handle) at(ctx context.Context, path string) func(func(record.Named, error) bool) {
	return func(yield func(record.Named, error) bool) {
		seen := map[string]bool{}
		for i, t := range h.view.targets() {
			b := t.base()
			for n, err := range b.at(ctx, path) {
				key := n.Scope + "//" + n.Name
				if err == nil && seen[key] {
					continue
				}
				seen[key] = true
				if err == nil {
					hidden, lookErr := shadowed(ctx, h.view.targets()[:i], n.Scope, n.Name)
					if hidden && lookErr == nil {
						continue
					}
					err = lookErr
				}
				if !yield(n, err) || err != nil {
					return
				}
			}
		}
	}
}

// at may yield a record more than once.
func (h *hosted) at(ctx context.Context, path string) func(func(record.Named, error) bool) {
	return func(yield func(record.Named, error) bool) {
		with := func(along []record.Named, err error) bool {
			if err != nil {
				yield(record.Named{}, err)
				return false
			}
			for _, n := range along {
				if !yield(n, nil) {
					return false
				}
			}
			return true
		}
		if !with(h.along(ctx, path)) {
			return
		}
		for shard := range max(1, h.repo.Shards) {
			for n, err := range h.service.Records.Below(ctx, h.repo.space, shard, path, record.Consistent) {
				if !yield(n, err) || err != nil {
					return
				}
				if !n.Record.Hidden(n.Name) && !with(h.elsewhere(ctx, n)) {
					return
				}
			}
		}
	}
}

// elsewhere returns what lists a file and may lie in another directory.
func (h *hosted) elsewhere(ctx context.Context, n record.Named) ([]record.Named, error) {
	if h.repo.index == nil {
		return nil, nil
	}
	if _, ok := h.repo.format.(formats.Placer); ok {
		return h.along(ctx, clientPath(n))
	}
	return h.with(ctx, h.announces(n.Scope, n.Name))
}

// clientPath is where clients find a record.
func clientPath(n record.Named) string {
	if n.Record.Path != "" {
		return n.Record.Path
	}
	return formats.Join(n.Scope, n.Name)
}

// tell stamps the scopes of what became visible, then counts it.
func (m *promoting) tell(ctx context.Context) error {
	r, err := m.repository(m.to)
	if err != nil {
		return err
	}
	if r.index != nil {
		last := "//"
		err = m.each(ctx, func(scope, _ string) error {
			if scope == last {
				return nil
			}
			last = scope
			return m.Records.Touch(ctx, m.sp, scope)
		})
	}
	if err == nil {
		err = m.each(ctx, func(scope, name string) error { return m.Records.Count(ctx, m.sp, scope, name, m.ID) })
	}
	if err != nil {
		return fmt.Errorf("tell of what was promoted to %s: %w", m.to.Name, err)
	}
	return nil
}

// each calls f for what was copied: as this run remembers, else as all records
// say.
func (m *promoting) each(ctx context.Context, f func(scope, name string) error) error {
	for _, at := range m.copied {
		if err := f(at[0], at[1]); err != nil {
			return err
		}
	}
	if m.copied != nil {
		return nil
	}
	for shard := range max(1, m.to.Shards) {
		for n, err := range m.Records.Shard(ctx, m.sp, shard, "", record.Consistent, record.Naming(m.ID)) {
			if err == nil {
				err = f(n.Scope, n.Name)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// AbandonPromotion takes back what was copied for a promotion that was not
// committed. One that was stays.
func (s *Service) AbandonPromotion(ctx context.Context, p Promotion) error {
	to, err := s.Registry.Stored(ctx, p.Target)
	if err != nil {
		return err
	}
	sp := kv.Space{Repo: to.ID, Shards: to.Shards}
	// Refused first: a worker that others took for dead may be about to commit.
	if made, err := s.Records.Refuse(ctx, sp, p.ID); err != nil || made {
		return err
	}
	for shard := range max(1, to.Shards) {
		for n, err := range s.Records.Shard(ctx, sp, shard, "", record.Consistent, record.Naming(p.ID)) {
			if err == nil {
				err = s.Records.Abandon(ctx, sp, n.Scope, n.Name, p.ID)
			}
			if err != nil {
				return fmt.Errorf("take back what was copied to %s: %w", to.Name, err)
			}
		}
	}
	return nil
}
