package repo

import (
	"fmt"
	"regexp"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
)

// repository is a configured repository made ready: patterns compiled, format
// found. It is remade when its configuration changes.
type repository struct {
	*config.Repository
	format formats.Format
	parser formats.Parser  // nil for a format whose records no upstream lists
	index  formats.Indexer // nil for a format without documents
	space  kv.Space

	mutable, immutable, allow, block []*regexp.Regexp
	quarantine                       quarantine
}

func (s *Service) repository(c *config.Repository) (*repository, error) {
	s.mu.Lock()
	r := s.repos[c.ID]
	s.mu.Unlock()
	if r != nil && r.Repository == c {
		return r, nil
	}
	f, ok := s.formats[c.Format]
	if !ok {
		return nil, fmt.Errorf("%w: this server has no format %q, which repository %s is of", formats.ErrNotFound, c.Format, c.Name)
	}
	r = &repository{Repository: c, format: f, space: kv.Space{Repo: c.ID, Shards: c.Shards}, quarantine: newQuarantine(f, c.Quarantine)}
	r.parser, _ = f.(formats.Parser)
	r.index, _ = f.(formats.Indexer)
	for _, p := range []struct {
		to   *[]*regexp.Regexp
		from []string
	}{{&r.mutable, c.MutablePatterns}, {&r.immutable, c.ImmutablePatterns}, {&r.allow, c.AllowPatterns}, {&r.block, c.BlockPatterns}} {
		for _, text := range p.from {
			re, err := regexp.Compile(text)
			if err != nil {
				return nil, fmt.Errorf("pattern %q of repository %s: %w", text, c.Name, err)
			}
			*p.to = append(*p.to, re)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[c.ID] = r
	return r, nil
}

// settings are those that change what documents say.
func (r *repository) settings() formats.Settings {
	set := formats.Settings{Architectures: r.Architectures, Components: r.AptComponents, SQLite: r.YumSQLite, Zstd: r.YumCompression == "zst"}
	if r.RepodataDepth != nil {
		set.RepodataDepth = int(*r.RepodataDepth)
	}
	if r.ValidUntilDays != nil {
		set.ValidFor = time.Duration(*r.ValidUntilDays) * 24 * time.Hour
	}
	return set
}

func matches(patterns []*regexp.Regexp, path string) bool {
	for _, p := range patterns {
		if p.MatchString(path) {
			return true
		}
	}
	return false
}

// refuses tells whether a pattern keeps a path from being asked for.
func (r *repository) refuses(path string) bool {
	return matches(r.block, path) || len(r.allow) > 0 && !matches(r.allow, path)
}

// fixed tells whether the bytes of a file at an upstream never change: what
// the administrator says, else what the format says.
func (r *repository) fixed(op formats.Op) bool {
	path := op.Upstream()
	switch {
	case matches(r.mutable, path):
		return false
	case matches(r.immutable, path):
		return true
	}
	if m, ok := r.format.(formats.Mutable); ok {
		return !m.Mutable(path)
	}
	return op.Fixed
}

// fresh tells whether what was last confirmed at checked needs no question to
// the upstream.
func (r *repository) fresh(checked int64, now time.Time) bool {
	ttl := r.ttl()
	return ttl < 0 || ttl > 0 && now.Sub(time.Unix(0, checked)) < ttl
}

// ttl is how long a copy is taken as current: 0 asks every time, -1 never.
func (r *repository) ttl() time.Duration {
	switch secs := r.CacheTTL; {
	case secs == nil:
		return 0
	case *secs < 0:
		return -1
	default:
		return time.Duration(*secs) * time.Second
	}
}

// negativeTTL is how long a "not found" of the upstream is believed; never
// longer than a copy is.
func (r *repository) negativeTTL() time.Duration {
	most, ttl := time.Minute, r.ttl()
	if r.NegativeTTL != nil {
		most = time.Duration(*r.NegativeTTL) * time.Second
	}
	if ttl >= 0 {
		most = min(most, ttl)
	}
	return most
}
