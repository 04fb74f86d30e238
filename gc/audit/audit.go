package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"granary/blob"
	"granary/cluster/task"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
)

// Name is the kind of task.
const Name = "check"

// Params are a task's.
type Params struct {
	DryRun bool `json:"dry_run"`
	Verify bool `json:"verify_blob_hashes"`
}

// Registry is what an audit asks of the configuration; [config.Registry] is one.
type Registry interface {
	Living(ctx context.Context) ([]*config.Repository, error)
	Stored(ctx context.Context, id string) (*config.Repository, error)
	Stores() []*config.Store
	StoreName(id string) string
	StoreByID(id string) (*config.Store, bool)
	SuspectStore(ctx context.Context, id string) error
	TrustStore(ctx context.Context, id string, since time.Time) error
}

// Config is what a Kind is made of.
type Config struct {
	KV       kv.Store
	Registry Registry
	Store    func(ctx context.Context, id string) (blob.Store, error)
	Records  *record.Store
	Refs     *refs.Keeper
	// Remove removes a hosted record that is still what was read; false: it is
	// another by now.
	Remove func(ctx context.Context, r *config.Repository, n record.Named, before time.Time) (bool, error)
	// Restore makes lost content live again if its bytes in a blob are right after
	// all; [repo.Service.Restore] does.
	Restore func(ctx context.Context, store string, hash []byte, id blob.ID) (bool, error)
	Now     func() time.Time
	// Rate bounds what this node reads for audits, in bytes a second; 0 is no
	// bound.
	Rate int64
}

// Kind is the task check. It is used concurrently.
type Kind struct {
	c    Config
	pace *rate.Limiter // of bytes
}

var _ interface {
	task.Kind
	task.Aborter
} = (*Kind)(nil)

// piece is how many bytes are read at once.
const piece = 256 << 10

// New returns the kind.
func New(c Config) *Kind {
	limit := rate.Inf
	if c.Rate > 0 {
		limit = rate.Limit(c.Rate)
	}
	return &Kind{c: c, pace: rate.NewLimiter(limit, 4*piece)}
}

// Name is the kind's.
func (k *Kind) Name() string { return Name }

// The shards of an audit.
//
//	content/<store>/<0-f>             references whose hash begins so
//	records/<repository>/<from>/<to>  after all of content: shards of records
const (
	ofContent = "content/"
	ofRecords = "records/"
	hexDigits = "0123456789abcdef"
)

// perShard is about how many records a shard of an audit has.
const perShard = 100_000

// Plan lists the shards.
func (k *Kind) Plan(ctx context.Context, _ *task.Task) (shards []string, err error) {
	for _, s := range k.c.Registry.Stores() {
		for _, d := range hexDigits {
			shards = append(shards, ofContent+s.ID+"/"+string(d))
		}
	}
	repos, err := k.c.Registry.Living(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the repositories: %w", err)
	}
	for _, r := range repos {
		if r.Type != config.Hosted && r.Type != config.Cache {
			continue
		}
		counted, err := k.c.Records.Shares(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		n := max(r.Shards, 1)
		parts := int(min(max(counted.Count/perShard, 1), int64(n)))
		for i := range parts {
			shards = append(shards, fmt.Sprintf("%s%s/%d/%d", ofRecords, r.ID, i*n/parts, (i+1)*n/parts))
		}
	}
	return shards, nil
}

// Run does a shard.
func (k *Kind) Run(ctx context.Context, w *task.Work) error {
	var p Params
	if err := json.Unmarshal(w.Task.Params, &p); err != nil {
		return fmt.Errorf("read the parameters: %w", err)
	}
	if rest, ok := strings.CutPrefix(w.Shard, ofContent); ok {
		store, digit, _ := strings.Cut(rest, "/")
		return k.content(ctx, w, p, store, digit)
	}
	f := strings.Split(strings.TrimPrefix(w.Shard, ofRecords), "/")
	if len(f) != 3 {
		return fmt.Errorf("unknown shard %q", w.Shard)
	}
	from, err1 := strconv.Atoi(f[1])
	to, err2 := strconv.Atoi(f[2])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("unknown shard %q: %w", w.Shard, err)
	}
	r, err := k.c.Registry.Stored(ctx, f[0])
	if errors.Is(err, config.ErrNotFound) {
		return nil // deleted since
	}
	if err != nil {
		return err
	}
	return k.records(ctx, w, p, r, from, to)
}
