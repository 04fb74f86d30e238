package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"granary/cluster/task"
	"granary/repo/config"
)

// KindName is that of the task, as clients see it.
const KindName = "repo_clean"

// Params are those of a repo_clean. Without a repository it is about all that
// have rules.
type Params struct {
	Repo   string `json:"repo,omitempty"` // name
	RepoID string `json:"repo_id,omitempty"`
	DryRun bool   `json:"dry_run"`
}

// Listed is an item in a result.
type Listed struct {
	Repo   string `json:"repo,omitempty"` // where the task is about several
	Path   string `json:"path"`
	Action string `json:"action" enum:"keep,delete"`
	Reason string `json:"reason"`
}

// CleanResult is what a repo_clean came to, or, dry, would.
type CleanResult struct {
	Type         string `json:"type"`
	Repo         string `json:"repo"` // "": all
	DryRun       bool   `json:"dry_run"`
	Scanned      int64  `json:"scanned_artifacts"`
	Expired      int64  `json:"expired_artifacts"`
	Unneeded     int64  `json:"docker_deleted"` // what nothing kept any more
	DeletedBytes int64  `json:"deleted_bytes"`
	ElapsedNS    int64  `json:"elapsed_ns"`
	// Items are what goes, or went, and in a dry run what stays, as many as fit;
	// Omitted is the number of the others.
	Items   []Listed `json:"items"`
	Omitted int64    `json:"items_omitted"`
}

// maxItems bounds the items of all shards in bytes of JSON, below what the
// result of a task may be.
const maxItems = 128 << 10

// Registry is what the kind asks of the configuration; [config.Registry] is one.
type Registry interface {
	Stored(ctx context.Context, id string) (*config.Repository, error)
	Repositories() []*config.Repository
	Settings() *config.Settings
}

// NewKind returns the kind of task. cleaned is told how long each took that was
// not dry, by the node that ended it; nil for nobody.
func NewKind(p *Planner, r Registry, cleaned func(took time.Duration)) task.Kind {
	if cleaned == nil {
		cleaned = func(time.Duration) {}
	}
	return kind{p, r, cleaned}
}

type kind struct {
	*Planner
	registry Registry
	cleaned  func(took time.Duration)
}

var _ task.Slotter = kind{}

func (kind) Name() string { return KindName }

// Slot is the repository: several are cleaned side by side, one only once.
func (kind) Slot(params json.RawMessage) (string, error) {
	var p Params
	if err := json.Unmarshal(params, &p); err != nil {
		return "", fmt.Errorf("parameters of a task: %w", err)
	}
	if p.RepoID == "" {
		return KindName, nil
	}
	return KindName + "/" + p.RepoID, nil
}

// Plan has one shard for each repository with rules: what is kept is known only
// when all of it was seen.
func (k kind) Plan(ctx context.Context, t *task.Task) ([]string, error) {
	var p Params
	if err := json.Unmarshal(t.Params, &p); err != nil {
		return nil, fmt.Errorf("parameters of a task: %w", err)
	}
	if p.RepoID != "" {
		c, err := k.registry.Stored(ctx, p.RepoID)
		if err != nil {
			return nil, err
		}
		return []string{c.ID}, nil
	}
	var out []string
	for _, c := range k.registry.Repositories() {
		rules, err := RulesOf(c)
		if err != nil {
			return nil, err
		}
		if c.Type != config.Proxy && !rules.None() {
			out = append(out, c.ID)
		}
	}
	return out, nil
}

// shard is the result of one.
type shard struct {
	Repo    string   `json:"repo"`
	Result  Result   `json:"result"`
	Items   []Listed `json:"items"`
	Omitted int64    `json:"omitted"`
}

// saveEvery is how many items lie between two saves.
const saveEvery = 1000

// Run begins anew where an earlier try ended half way: what went is gone.
func (k kind) Run(ctx context.Context, w *task.Work) error {
	var p Params
	if err := json.Unmarshal(w.Task.Params, &p); err != nil {
		return fmt.Errorf("parameters of a task: %w", err)
	}
	c, err := k.registry.Stored(ctx, w.Shard)
	if errors.Is(err, config.ErrNotFound) && p.RepoID == "" {
		return nil
	}
	if err != nil {
		return err
	}
	rules, err := RulesOf(c)
	if err != nil {
		return err
	}
	room := maxItems
	if w.Task.Shards > 1 {
		room /= w.Task.Shards
	}
	l := &list{repo: c.Name, room: room, keep: p.DryRun}
	before := w.Progress
	n := int64(0)
	res, err := k.Clean(ctx, c, rules, p.DryRun, func(it Item) error {
		l.add(it)
		if n++; n%saveEvery != 0 {
			return nil
		}
		at := before
		at.CheckedArtifacts = max(before.CheckedArtifacts, n)
		return w.Save(ctx, nil, at)
	})
	if err != nil {
		return err
	}
	w.Progress.CheckedArtifacts = res.Scanned
	w.Result, err = json.Marshal(shard{c.Name, res, l.items, l.omitted})
	return err
}

// list gathers items while there is room: those that go before those that stay.
type list struct {
	repo    string
	room    int // bytes of JSON
	keep    bool
	items   []Listed
	omitted int64
}

// size is what an item takes in a result, at the most.
func (l *list) size(one Listed) int {
	one.Repo = l.repo
	b, err := json.Marshal(one)
	if err != nil {
		return maxItems // strings can always be encoded
	}
	return len(b) + 1
}

func (l *list) add(it Item) {
	one := Listed{Path: it.Path, Action: "keep", Reason: it.Reason}
	if it.Drop {
		one.Action = "delete"
	} else if !l.keep {
		return
	}
	size := l.size(one)
	for it.Drop && l.room < size {
		// One that stays makes room for one that goes.
		i := len(l.items) - 1
		for i >= 0 && l.items[i].Action != "keep" {
			i--
		}
		if i < 0 {
			break
		}
		l.room += l.size(l.items[i])
		l.items = append(l.items[:i], l.items[i+1:]...)
		l.omitted++
	}
	if l.room < size {
		l.omitted++
		return
	}
	l.room -= size
	l.items = append(l.items, one)
}

func (k kind) Finish(_ context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	var p Params
	if err := json.Unmarshal(t.Params, &p); err != nil {
		return nil, "", fmt.Errorf("parameters of a task: %w", err)
	}
	out := CleanResult{Type: KindName, Repo: p.Repo, DryRun: p.DryRun, Items: []Listed{}, ElapsedNS: k.Now().Sub(t.Started).Nanoseconds()}
	for _, s := range states {
		if len(s.Result) == 0 {
			continue
		}
		var one shard
		if err := json.Unmarshal(s.Result, &one); err != nil {
			return nil, "", fmt.Errorf("result of shard %s: %w", s.Shard, err)
		}
		out.Scanned += one.Result.Scanned
		out.Expired += one.Result.Expired
		out.Unneeded += one.Result.Unneeded
		out.DeletedBytes += one.Result.Bytes
		out.Omitted += one.Omitted
		for _, it := range one.Items {
			if p.RepoID == "" {
				it.Repo = one.Repo
			}
			out.Items = append(out.Items, it)
		}
	}
	verb := "went"
	if p.DryRun {
		verb = "would go"
	} else {
		k.cleaned(time.Duration(out.ElapsedNS))
	}
	return out, fmt.Sprintf("%d of %d records %s", out.Expired+out.Unneeded, out.Scanned, verb), nil
}

// Due starts a clean-up of all repositories each settings.cleanup_interval_secs.
func Due(r Registry, now func() time.Time) func(ctx context.Context, last time.Time) (bool, any, error) {
	return func(_ context.Context, last time.Time) (bool, any, error) {
		secs := r.Settings().CleanupInterval
		if secs == nil || now().Sub(last) < time.Duration(*secs)*time.Second {
			return false, nil, nil
		}
		return true, Params{}, nil
	}
}
