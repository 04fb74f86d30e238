package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"granary/cluster/task"
	"granary/formats"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
)

// Finding is an artifact whose content is missing or wrong; without Repo it is
// content that no artifact names, such as one of the past.
type Finding struct {
	Repo     *string `json:"repo"`
	Path     string  `json:"path"`
	Expected string  `json:"expected_hash"` // BLAKE3 in hex, as all
	Actual   *string `json:"actual_hash"`
	Error    *string `json:"error"`
	Fixed    bool    `json:"fixed"`
}

// artifacts is what a shard of records has come to.
type artifacts struct {
	Total    int64     `json:"total"`
	Inline   int64     `json:"inline"` // of the findings, those whose content is kept in the record
	Fixed    int64     `json:"fixed"`
	Failed   int64     `json:"failed"`
	Findings []Finding `json:"findings,omitempty"`
	Size     int       `json:"size"` // bytes of Findings, about
}

// maxFindings is how many bytes of findings a shard keeps; more are counted.
const maxFindings = task.MaxResult * 3 / 4

// place is how far a shard of records is.
type place struct {
	Shard int    `json:"shard"`
	Sort  string `json:"sort"`
}

// records goes through shards of a repository's records.
func (k *Kind) records(ctx context.Context, w *task.Work, p Params, r *config.Repository, from, to int) error {
	known, err := k.known(ctx, w)
	if err != nil {
		return err
	}
	out, at := artifacts{}, place{Shard: from}
	if w.Cursor != nil {
		if err := errors.Join(json.Unmarshal(w.Cursor, &at), json.Unmarshal(w.Result, &out)); err != nil {
			return fmt.Errorf("read the state: %w", err)
		}
	}
	save := func() (err error) {
		if w.Result, err = json.Marshal(out); err != nil {
			return err
		}
		cursor, err := json.Marshal(at)
		if err != nil {
			return err
		}
		return w.Save(ctx, cursor, task.Progress{CheckedArtifacts: out.Total, TotalArtifacts: out.Total, Phase: "artifacts"})
	}
	sp := kv.Space{Repo: r.ID, Shards: r.Shards}
	a := &auditor{Kind: k, params: p, repo: r, space: sp, known: known, out: &out}
	for ; at.Shard < to; at = (place{Shard: at.Shard + 1}) {
		n := 0
		for rec, err := range k.c.Records.Shard(ctx, sp, at.Shard, at.Sort, record.Consistent) {
			if err != nil {
				return fmt.Errorf("read the records of %s: %w", r.Name, err)
			}
			if err := a.record(ctx, rec); err != nil {
				return err
			}
			if n++; n%saveItems == 0 {
				at.Sort = rec.Sort()
				if err := save(); err != nil {
					return err
				}
			}
		}
	}
	return save()
}

// known is what the first pass has found, by store and hash; task.ErrLater
// while it is not over.
func (k *Kind) known(ctx context.Context, w *task.Work) (map[string]bad, error) {
	others, err := w.Others(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bad{}
	for _, s := range others {
		if !strings.HasPrefix(s.Shard, ofContent) {
			continue
		}
		if !s.Done {
			return nil, fmt.Errorf("%s is not checked yet: %w", s.Shard, task.ErrLater)
		}
		var c contents
		if err := json.Unmarshal(s.Result, &c); err != nil {
			return nil, fmt.Errorf("read what %s has found: %w", s.Shard, err)
		}
		for _, b := range c.Bad {
			known[c.Store+"/"+b.Hash] = b
		}
	}
	return known, nil
}

// auditor checks the records of a shard.
type auditor struct {
	*Kind
	params Params
	repo   *config.Repository
	space  kv.Space
	known  map[string]bad
	out    *artifacts
}

// record checks one.
func (a *auditor) record(ctx context.Context, n record.Named) error {
	rec := n.Record
	if rec.Sums.IsZero() {
		return nil // without bytes of its own
	}
	a.out.Total++
	f := Finding{Path: rec.Path, Expected: hex.EncodeToString(rec.Sums.BLAKE3)}
	if f.Path == "" {
		f.Path = formats.Join(n.Scope, n.Name)
	}
	if rec.Blob == "" {
		ok, actual := intact(rec.Inline, rec.Sums.BLAKE3)
		if ok {
			return nil
		}
		a.out.Inline++
		return a.found(ctx, n, f, bad{Actual: actual, Error: "its bytes are not what was stored"})
	}
	item, err := a.c.KV.Get(ctx, kv.Reference(rec.Store, f.Expected), kv.Consistent)
	var b bad
	switch {
	case errors.Is(err, kv.ErrNotFound):
		b.Error = "its content is not in the store"
	case err != nil:
		return fmt.Errorf("read the reference of %s/%s: %w", a.repo.Name, f.Path, err)
	default:
		ref, err := refs.Decode(item)
		var known bool
		b, known = a.known[rec.Store+"/"+f.Expected]
		switch {
		case err != nil:
			b.Error = "the reference to its content can't be read"
		case known && b.Verdict == unreadable && b.Blob == ref.Blob: // as the first pass says
		case ref.State != refs.Lost:
			return nil // whole, or healed since
		case !known:
			b.Error = "its content is lost"
		}
	}
	return a.found(ctx, n, f, b)
}

// found reports a record, if it still is what was read, and repairs what can be.
func (a *auditor) found(ctx context.Context, n record.Named, f Finding, b bad) error {
	now, _, err := a.c.Records.Get(ctx, a.space, n.Scope, n.Name, record.Latest)
	if errors.Is(err, formats.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s/%s again: %w", a.repo.Name, f.Path, err)
	}
	if now.Since != n.Record.Since || now.Nonce != n.Record.Nonce {
		return nil
	}
	f.Repo, f.Error = &a.repo.Name, &b.Error
	if b.Actual != "" {
		f.Actual = &b.Actual
	}
	// What only can't be read may be read another time.
	if !a.params.DryRun && b.Verdict != unreadable {
		if f.Fixed, err = a.remove(ctx, n); err != nil {
			return err
		}
	}
	a.out.Failed++
	if f.Fixed {
		a.out.Fixed++
	}
	if a.out.Size < maxFindings {
		a.out.Size += 200 + 2*len(f.Path) + len(f.Expected)
		a.out.Findings = append(a.out.Findings, f)
	}
	return nil
}

// errChanged ends the removal of a record that is another by now.
var errChanged = errors.New("audit: the record has changed")

// remove removes a record. A cache asks its upstream for it the next time.
func (a *auditor) remove(ctx context.Context, n record.Named) (bool, error) {
	if a.repo.Type == config.Hosted {
		return a.c.Remove(ctx, a.repo, n, a.c.Now())
	}
	_, err := a.c.Records.Delete(ctx, a.space, n.Scope, n.Name, func(now record.Record) error {
		if now.Since != n.Record.Since || now.Nonce != n.Record.Nonce {
			return errChanged
		}
		return nil
	})
	if errors.Is(err, errChanged) || errors.Is(err, formats.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("drop %s/%s: %w", a.repo.Name, formats.Join(n.Scope, n.Name), err)
	}
	return true, nil
}
