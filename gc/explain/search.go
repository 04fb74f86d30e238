package explain

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
)

// prefixes is how many partitions the references of a store, and the sessions
// of a repository, are in.
const prefixes = 256

// search is one run.
type search struct {
	*Explainer
	store  string
	at     place
	room   int // for names
	items  int
	until  time.Time
	answer Answer
}

// errFull ends a scan in the middle.
var errFull = errors.New("explain: that is enough for one answer")

func (s *search) full() bool { return s.room <= 0 || s.items >= s.c.Items }

func (s *search) next() string {
	if s.at.stage == stageEnd {
		return ""
	}
	s.at.hash = s.answer.Hash
	return s.at.String()
}

// scan reads a partition from where the search is to its end; errFull if that is
// not reached.
func (s *search) scan(ctx context.Context, partition string, f func(kv.Item) error) error {
	for item, err := range s.c.KV.Query(ctx, partition, s.at.from(), "", kv.Consistent) {
		if err != nil {
			return fmt.Errorf("read %s: %w", partition, err)
		}
		if err := f(item); err != nil {
			return err
		}
		s.at.sort = item.Sort
		s.items++
		if s.full() || s.items%1000 == 0 && !s.c.Now().Before(s.until) {
			return errFull
		}
	}
	s.at.sort = ""
	return nil
}

// reference finds the reference of the content, for a blob id by going through
// all of them.
func (s *search) reference(ctx context.Context) error {
	for ; s.answer.Hash == "" && s.at.stage == stageReferences && s.at.shard < prefixes; s.at.shard++ {
		err := s.scan(ctx, kv.ReferencePartition(s.store, fmt.Sprintf("%02x", s.at.shard)), func(item kv.Item) error {
			ref, err := refs.Decode(item)
			if err == nil && ref.Blob == s.answer.Blob {
				s.answer.Hash = item.Sort
				return errFull
			}
			return nil //nolint:nilerr // one that can't be read is not what is looked for
		})
		if s.answer.Hash != "" {
			break
		}
		if errors.Is(err, errFull) {
			s.room = 0 // the names are for the next answer
			return nil
		}
		if err != nil {
			return err
		}
	}
	if s.at.stage == stageReferences {
		s.at = place{stage: stageNames}
	}
	if s.answer.Hash == "" {
		return s.pending(ctx, "")
	}
	item, err := s.c.KV.Get(ctx, kv.Reference(s.store, s.answer.Hash), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return s.pending(ctx, "")
	}
	if err != nil {
		return err
	}
	ref, err := refs.Decode(item)
	if err != nil {
		return err
	}
	s.answer.Reference = &Reference{s.answer.Hash, ref.Blob, ref.Size, ref.State, time.Unix(0, ref.Since)}
	if s.answer.Blob == "" {
		s.answer.Blob = ref.Blob
	}
	return s.pending(ctx, item.Version)
}

func (s *search) pending(ctx context.Context, version kv.Version) (err error) {
	s.answer.Pending, err = s.c.Pending(ctx, s.store, s.answer.Hash, version)
	return err
}

// steps are what a mark reads of a repository, in its order.
var steps = []func(*search, context.Context, *config.Repository) error{
	(*search).uploads, (*search).index, (*search).records, (*search).history,
}

// names looks through the repositories, from where the search is.
func (s *search) names(ctx context.Context) error {
	repos, err := s.living(ctx)
	if err != nil {
		return err
	}
	for _, r := range repos {
		if r.ID < s.at.repo {
			continue
		}
		if r.ID != s.at.repo {
			s.at = place{stage: s.at.stage, repo: r.ID}
		}
		for ; s.at.step < len(steps); s.at.step, s.at.shard = s.at.step+1, 0 {
			err := steps[s.at.step](s, ctx, r)
			if errors.Is(err, errFull) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("repository %s: %w", r.Name, err)
			}
		}
		s.at = place{stage: s.at.stage, repo: r.ID + "\x00"}
	}
	s.at = place{stage: stageEnd}
	return nil
}

// named adds n, if it is of the blob.
func (s *search) named(n repo.Named, is Name) {
	hash := s.answer.Hash
	if n.Store != s.store || n.Blob != s.answer.Blob && (hash == "" || hash != hex.EncodeToString(n.Hash)) {
		return
	}
	is.Blob = n.Blob
	s.answer.Names = append(s.answer.Names, is)
	s.room--
}

// shards goes through the partitions of a step.
func (s *search) shards(ctx context.Context, n int, partition func(int) string, f func(kv.Item) error) error {
	for ; s.at.shard < n; s.at.shard++ {
		if err := s.scan(ctx, partition(s.at.shard), f); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) uploads(ctx context.Context, r *config.Repository) error {
	partition := func(i int) string { return kv.UploadPartition(r.ID, fmt.Sprintf("%02x", i)) }
	return s.shards(ctx, prefixes, partition, func(item kv.Item) error {
		id, _, _ := strings.Cut(item.Sort, "//")
		names, err := s.c.Upload(item)
		for _, n := range names {
			s.named(n, Name{Kind: Upload, Repository: r.Name, Path: id})
		}
		return err
	})
}

func space(r *config.Repository) kv.Space { return kv.Space{Repo: r.ID, Shards: max(r.Shards, 1)} }

func (s *search) index(ctx context.Context, r *config.Repository) error {
	sp := space(r)
	return s.shards(ctx, sp.Shards, sp.Index, func(item kv.Item) error {
		x, err := repo.ReadIndexed(item)
		if err != nil {
			return err
		}
		is := Name{Kind: Publication, Repository: r.Name, Path: x.Scope}
		if x.Document != "" {
			is.Kind, is.Path = Document, x.Document
		}
		for _, n := range x.Names {
			s.named(n, is)
		}
		return nil
	})
}

func (s *search) records(ctx context.Context, r *config.Repository) error {
	sp := space(r)
	return s.shards(ctx, sp.Shards, sp.Records, func(item kv.Item) error {
		scope, name, isMarker := kv.SplitRecord(item.Sort)
		if isMarker {
			return nil
		}
		c, err := record.ContentOf(item)
		if err != nil || c.Blob == "" {
			return err
		}
		s.named(repo.Named{Store: c.Store, Hash: c.Sums.BLAKE3, Blob: c.Blob}, Name{Kind: Record, Repository: r.Name, Path: formats.Join(scope, name)})
		return nil
	})
}

func (s *search) history(ctx context.Context, r *config.Repository) error {
	sp := space(r)
	return s.shards(ctx, sp.Shards, sp.History, func(item kv.Item) error {
		n, ok, err := repo.ReadHistory(item)
		if err != nil || !ok {
			return err
		}
		scope, name, since, document, _ := kv.SplitReplaced(item.Sort)
		path := formats.Join(scope, name)
		if document {
			path = name
		}
		s.named(n, Name{Kind: History, Repository: r.Name, Path: path, Since: time.Unix(0, since)})
		return nil
	})
}
