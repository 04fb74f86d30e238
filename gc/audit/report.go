package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"granary/cluster/task"
)

// Result is what clients see of an audit. Blobs are those of the stores;
// content kept in records is checked with them and counted only where it is
// wrong.
type Result struct {
	TotalBlobs int64     `json:"total_blobs"`
	Passed     int64     `json:"passed"`
	Mismatched int64     `json:"mismatched"`
	Missing    int64     `json:"missing"`
	Errors     int64     `json:"errors"`
	Findings   []Finding `json:"findings"`
	Omitted    int64     `json:"findings_omitted"` // findings that there was no room for
	BytesRead  int64     `json:"bytes_read"`
	DryRun     bool      `json:"dry_run"`
	Fixed      int64     `json:"fixed"`
}

// maxReported is how many bytes of findings a result has room for.
const maxReported = task.MaxResult * 3 / 4

// Finish adds the shards up.
func (k *Kind) Finish(ctx context.Context, t *task.Task, shards []task.ShardState) (any, string, error) {
	r, artifacts, err := k.report(t, shards)
	if err != nil {
		return nil, "", err
	}
	all, err := contentsOf(shards)
	if err == nil {
		err = k.trust(ctx, all)
	}
	if err != nil {
		return nil, "", err
	}
	summary := fmt.Sprintf("%d blobs and %d artifacts checked: %d missing, %d wrong, %d unreadable", r.TotalBlobs, artifacts, r.Missing, r.Mismatched, r.Errors)
	if n := int64(len(r.Findings)) + r.Omitted; n > 0 {
		summary += fmt.Sprintf("; %d findings, %d repaired", n, r.Fixed)
	}
	return r, summary, nil
}

// Abort reports what was found until then.
func (k *Kind) Abort(_ context.Context, t *task.Task, shards []task.ShardState) (any, string, error) {
	r, artifacts, err := k.report(t, shards)
	return r, fmt.Sprintf("stopped after %d blobs and %d artifacts: %d missing, %d wrong", r.TotalBlobs, artifacts, r.Missing, r.Mismatched), err
}

func (k *Kind) report(t *task.Task, shards []task.ShardState) (r Result, checked int64, err error) {
	var p Params
	if err := json.Unmarshal(t.Params, &p); err != nil {
		return r, 0, fmt.Errorf("read the parameters: %w", err)
	}
	r.DryRun, r.Findings = p.DryRun, []Finding{}
	room := maxReported
	add := func(f Finding) {
		if room -= 200 + 2*len(f.Path) + len(f.Expected); room < 0 {
			r.Omitted++
			return
		}
		r.Findings = append(r.Findings, f)
	}
	named := map[string]bool{}
	all, err := contentsOf(shards)
	if err != nil {
		return r, 0, err
	}
	for _, s := range shards {
		if s.Result == nil || strings.HasPrefix(s.Shard, ofContent) {
			continue
		}
		var a artifacts
		if err := json.Unmarshal(s.Result, &a); err != nil {
			return r, 0, fmt.Errorf("read what %s has found: %w", s.Shard, err)
		}
		checked += a.Total
		r.Mismatched += a.Inline
		r.Fixed += a.Fixed
		r.Omitted += a.Failed - int64(len(a.Findings))
		for _, f := range a.Findings {
			named[f.Expected] = true
			add(f)
		}
	}
	for _, c := range all {
		r.TotalBlobs += c.Total
		r.Passed += c.Total - c.failed()
		r.Missing += c.Counts[missing]
		r.Mismatched += c.Counts[mismatched]
		r.Errors += c.Counts[unreadable]
		r.BytesRead += c.Read
		for _, b := range c.Bad {
			if !named[b.Hash] {
				add(k.unnamed(c.Store, b))
			}
		}
		r.Omitted += c.More
	}
	return r, checked, nil
}

// contentsOf are the shards of content that have something to tell.
func contentsOf(shards []task.ShardState) (all []contents, err error) {
	for _, s := range shards {
		if s.Result == nil || !strings.HasPrefix(s.Shard, ofContent) {
			continue
		}
		var c contents
		if err := json.Unmarshal(s.Result, &c); err != nil {
			return nil, fmt.Errorf("read what %s has found: %w", s.Shard, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// unnamed is content that no artifact names any more.
func (k *Kind) unnamed(store string, b bad) Finding {
	f := Finding{Path: k.c.Registry.StoreName(store) + ":" + string(b.Blob), Expected: b.Hash, Error: &b.Error}
	if b.Actual != "" {
		f.Actual = &b.Actual
	}
	return f
}
