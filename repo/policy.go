package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"granary/digest"
	"granary/formats"
	"granary/repo/upstream"
)

// Policies hide releases from clients: those that a pattern blocks, those of a
// cache that are too young, and, in a group, those whose name a hosted member
// has. They are rules on the records of a view, so that what an index shows and
// what can be downloaded is the same, and formats know nothing of them but
// which release a record is of ([formats.Releaser]).

// The reasons for which a policy refuses, as clients are told.
const (
	ReasonBlocked    = "blocked"     // by block_patterns, or not in allow_patterns
	ReasonTooYoung   = "too-young"   // than minimum_age_days
	ReasonAgeUnknown = "age-unknown" // the upstream does not tell, and there is a minimum
	ReasonClaimed    = "claimed"     // a hosted member of the group has the name
	// ReasonQuarantined: an administrator has put it away by hand.
	ReasonQuarantined = "quarantined"
)

// PolicyError is a refusal with its reason. It is a formats.ErrBlocked, or,
// within a group, of which others may have the file, a formats.ErrNotFound.
type PolicyError struct {
	Reason  string
	What    string    // path or release
	Detail  string    // in an administrator's words
	Until   time.Time // of ReasonTooYoung: when it ends
	Missing bool      // told as not found
}

func (e *PolicyError) Error() string {
	s := e.What + ": " + formats.ErrBlocked.Error() + ": " + e.Reason
	if !e.Until.IsZero() {
		s += ", until " + e.Until.UTC().Format(time.RFC3339)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Is makes it the error that its status goes by.
func (e *PolicyError) Is(target error) bool {
	if e.Missing {
		return target == formats.ErrNotFound
	}
	return target == formats.ErrBlocked
}

// missing is the refusal of one member as the group's answer.
func (e *PolicyError) missing() *PolicyError {
	m := *e
	m.Missing = true
	return &m
}

// release names what a record is of, as patterns see it beside the path:
// "package@version", or the package alone.
func (r *repository) release(scope, name string) (pkg, whole string) {
	f, ok := r.format.(formats.Releaser)
	if !ok {
		return "", ""
	}
	pkg, version := f.Release(scope, name)
	if pkg == "" || version == "" {
		return pkg, pkg
	}
	return pkg, pkg + "@" + version
}

// told is the name by which release tells what a file is of: the record's own,
// unless the bytes say otherwise.
func (r *repository) told(rec formats.Record) string {
	if d, ok := r.format.(formats.Describer); ok {
		if name := d.Described(rec); name != "" {
			return name
		}
	}
	return rec.Name
}

// blocks judges a path and the release that it is of by the patterns.
func (r *repository) blocks(path, release string) bool {
	if release == "" {
		return r.refuses(path)
	}
	return matches(r.block, path) || matches(r.block, release) ||
		len(r.allow) > 0 && !matches(r.allow, path) && !matches(r.allow, release)
}

// ageGrain is how exactly ages are taken: what is rendered holds for so long,
// and downloads go by the same time.
const ageGrain = time.Hour

// oldest is the time before which a release must have been published; zero: any.
func (c *cache) oldest() time.Time {
	days := c.repo.MinimumAgeDays
	if days == nil || *days <= 0 {
		return time.Time{}
	}
	return c.service.Now().Truncate(ageGrain).Add(-time.Duration(*days) * 24 * time.Hour)
}

// policyStamp is part of a cache's stamps where a policy is: "" else. It
// changes when a rule does, and with time if one goes by it, which is how
// documents end.
func (c *cache) policyStamp() string {
	oldest := c.oldest()
	if len(c.repo.BlockPatterns)+len(c.repo.AllowPatterns) == 0 && oldest.IsZero() {
		return c.repo.rulesStamp()
	}
	sum := blake3.Sum256(fmt.Appendf(nil, "%q %q %d", c.repo.BlockPatterns, c.repo.AllowPatterns, oldest.Unix()))
	return "+" + hex.EncodeToString(sum[:8]) + c.repo.rulesStamp()
}

// judges tells whether a policy may hide anything.
func (c *cache) judges() bool {
	return len(c.repo.BlockPatterns)+len(c.repo.AllowPatterns) > 0 || c.repo.quarantine.stamp != "" || !c.oldest().IsZero()
}

// judge decides about a file that a client asks for.
func (c *cache) judge(ctx context.Context, op formats.Op) error {
	claimed, err := c.claimed(ctx, op.Scope, op.Name)
	if err != nil {
		return err
	}
	return c.permit(ctx, formats.Record{Scope: op.Scope, Name: op.Name, Path: op.Upstream()}, claimed)
}

// judgeFound decides about a file that was found, by what its bytes say it is.
func (c *cache) judgeFound(ctx context.Context, op formats.Op, rec formats.Record) error {
	name := c.repo.told(rec)
	if name == op.Name || name == rec.Name {
		return nil
	}
	op.Path, op.Name = op.Upstream(), name
	return c.judge(ctx, op)
}

// permit returns a PolicyError for a record that a policy hides.
func (c *cache) permit(ctx context.Context, rec formats.Record, claimed bool) error {
	path := rec.Path
	if path == "" {
		path = rec.Key()
	}
	_, release := c.repo.release(rec.Scope, rec.Name)
	refuse := func(reason string, until time.Time) error {
		return &PolicyError{Reason: reason, What: c.repo.Name + "/" + path, Until: until}
	}
	if claimed {
		return refuse(ReasonClaimed, time.Time{})
	}
	if err := c.repo.inQuarantine(rec.Scope, rec.Name, path); err != nil {
		return err
	}
	if c.repo.blocks(path, release) {
		return refuse(ReasonBlocked, time.Time{})
	}
	oldest := c.oldest()
	f, ok := c.repo.format.(formats.Releaser)
	if oldest.IsZero() || !ok {
		return nil
	}
	if _, version := f.Release(rec.Scope, rec.Name); version == "" {
		return nil // of no one release
	}
	if p, ok := c.repo.format.(formats.Placer); ok && !p.Aged(rec.Scope, rec.Name) {
		return nil
	}
	published, err := c.published(ctx, f, rec)
	switch {
	case err != nil:
		return err
	case published.IsZero():
		return refuse(ReasonAgeUnknown, time.Time{})
	case published.After(oldest):
		return refuse(ReasonTooYoung, published.Add(time.Duration(*c.repo.MinimumAgeDays)*24*time.Hour).Add(ageGrain).Truncate(ageGrain))
	}
	return nil
}

// published is when a file's release was published at the upstream, or the file
// where it came later. It does not change, so that the upstream is asked once in
// the life of this process.
func (c *cache) published(ctx context.Context, f formats.Releaser, rec formats.Record) (time.Time, error) {
	if !rec.Time.IsZero() {
		return rec.Time, nil
	}
	key := c.repo.ID + " " + rec.Key()
	if t, ok := c.service.ages.GetIfPresent(key); ok {
		return t, nil
	}
	t, err := f.Published(ctx, rec, source{c, rec.Scope, ""})
	if errors.Is(err, formats.ErrNotFound) || errors.Is(err, formats.ErrBlocked) {
		return time.Time{}, nil
	}
	if err != nil {
		return t, fmt.Errorf("ask for the age of %s in %s: %w", rec.Key(), c.repo.Name, err)
	}
	if !t.IsZero() {
		c.service.ages.Set(key, t)
	}
	return t, nil
}

// judgeTarget decides about what a name points to by the copy that is here.
func (c *cache) judgeTarget(ctx context.Context, op formats.Op, sums digest.Sums) error {
	p, ok := c.repo.format.(formats.Pointer)
	if !ok || !p.Points(op) || !c.judges() {
		return nil
	}
	target, ok := p.Target(op, nil, sums)
	if !ok {
		return nil
	}
	return c.judge(ctx, target)
}

var _ formats.Dater = source{}

// Modified is the Last-Modified of the upstream's file.
func (s source) Modified(ctx context.Context, path string) (time.Time, error) {
	req, err := s.cache.request(path)
	if err != nil {
		return time.Time{}, err
	}
	var resp *upstream.Response
	err = s.cache.each(ctx, req, func(req upstream.Request, _ digest.Sums) (err error) {
		resp, err = s.cache.service.Upstream.Head(ctx, req)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("%s of the upstream of %s: %w", path, s.cache.repo.Name, err)
	}
	if resp.Body != nil {
		resp.Body.Close() //nolint:errcheck // of a HEAD
	}
	t, err := http.ParseTime(resp.LastModified)
	if err != nil {
		return time.Time{}, nil //nolint:nilerr // it does not tell
	}
	return t.UTC(), nil
}

// Times of releases are asked for in batches, several at once.
const (
	agesAtOnce = 8
	ageBatch   = 64
	maxAges    = 100_000 // kept in memory
)

// permitted leaves out of a cache's records what its policies hide.
func (c *cache) permitted(ctx context.Context, recs iter.Seq2[formats.Record, error]) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		batch := make([]formats.Record, 0, ageBatch)
		flush := func() bool {
			keep, err := c.permitBatch(ctx, batch)
			if err != nil {
				yield(formats.Record{}, err)
				return false
			}
			for i, rec := range batch {
				if keep[i] && !yield(rec, nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for rec, err := range recs {
			if err != nil {
				if flush() {
					yield(rec, err)
				}
				return
			}
			if batch = append(batch, rec); len(batch) == ageBatch && !flush() {
				return
			}
		}
		flush()
	}
}

func (c *cache) permitBatch(ctx context.Context, batch []formats.Record) ([]bool, error) {
	keep := make([]bool, len(batch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(agesAtOnce)
	for i, rec := range batch {
		claimed, err := c.claimed(ctx, rec.Scope, rec.Name)
		if err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			err := c.permit(ctx, rec, claimed)
			keep[i] = err == nil
			if errors.Is(err, formats.ErrBlocked) {
				return nil
			}
			return err
		})
	}
	return keep, g.Wait()
}
