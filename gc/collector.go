package gc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"granary/blob"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
)

var (
	// ErrEarly is what every [EarlyError] is.
	ErrEarly = errors.New("gc: too early for another round")
	// ErrNotYet is returned by a part that needs others to be closed first: it is
	// to be tried again.
	ErrNotYet = errors.New("gc: other parts come first")
	// ErrOver is returned by a part of a round that is no longer the last one.
	ErrOver = errors.New("gc: the round is over")
)

// EarlyError says how long to wait for a next round.
type EarlyError struct {
	What string // such as "GC minimum interval"
	Wait time.Duration
}

func (e *EarlyError) Error() string {
	return fmt.Sprintf("%s not elapsed (%ds remaining)", e.What, int64((e.Wait+time.Second-1)/time.Second))
}

// Is makes errors.Is(err, ErrEarly) true.
func (e *EarlyError) Is(target error) bool { return target == ErrEarly }

// Registry is what the collector asks of the configuration; [config.Registry]
// is one.
type Registry interface {
	Load(ctx context.Context) error
	Living(ctx context.Context) ([]*config.Repository, error)
	DeadRepositories(ctx context.Context) iter.Seq2[*config.Dead, error]
	Stores() []*config.Store
	Settings() *config.Settings
}

// Config is what a Collector is made of.
type Config struct {
	KV       kv.Store
	Registry Registry
	Store    func(ctx context.Context, id string) (blob.Store, error)
	Records  *record.Store
	Refs     *refs.Keeper
	Now      func() time.Time // optional; the wall clock
	Random   io.Reader        // optional; for ids and salts
	// Embedded: no other process has the key-value store.
	Embedded bool
	// Ready tells why this node must not begin a round, such as that its clock
	// disagrees with the other nodes'. Optional.
	Ready func() error
	// Upload tells which blobs an item of an upload session needs. Optional.
	Upload func(item kv.Item) ([]repo.Named, error)
	// SweepUploads ends the upload sessions of a repository that were given up,
	// those whose id begins with prefix, and returns how many. Optional.
	SweepUploads func(ctx context.Context, sp kv.Space, prefix string) (int, error)
	// Rate bounds what this node reads for the collector, in items a second; 0
	// is no bound.
	Rate int
	Log  *slog.Logger // optional
}

// Collector does rounds. It is used concurrently.
type Collector struct {
	Config
	kv    kv.Store
	ids   *blob.Source
	pace  *rate.Limiter
	start time.Time // of this process, by its wall clock
	plant plant     // a fault for tests to plant; none
	left  sync.Map  // for plantCursor: part → spans that were read

	mu   sync.Mutex
	seen map[blob.ID]time.Time // when this node first saw a round closed; guarded by mu

	usage usage
}

// burst is how many items are read between two looks at the pace.
const burst = 256

// New returns a Collector.
func New(c Config) *Collector {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	limit := rate.Inf
	if c.Rate > 0 {
		limit = rate.Limit(c.Rate)
	}
	return &Collector{
		Config: c, kv: c.KV, ids: blob.NewSource(c.Now, c.Random), start: c.Now(),
		pace: rate.NewLimiter(limit, 2*burst), seen: map[blob.ID]time.Time{},
	}
}

// Beat is told every now and then how many items a part has read since the last
// call. An error ends the part.
type Beat func(ctx context.Context, items int) error

// worker is one run of one part.
type worker struct {
	*Collector
	round *Round
	beat  Beat
	read  int // items since the last beat
}

// item counts one that was read, and waits its turn.
func (w *worker) item(ctx context.Context) error {
	if w.read++; w.read < burst {
		return nil
	}
	n := w.read
	w.read = 0
	if err := w.pace.WaitN(ctx, n); err != nil {
		return err
	}
	return w.beat(ctx, n)
}

// scan reads items of a partition.
func (w *worker) scan(ctx context.Context, partition, from, to string, f func(kv.Item) error) error {
	read := []kv.ReadOption{kv.Consistent}
	if w.plant == plantStaleMark {
		read = nil
	}
	for item, err := range w.kv.Query(ctx, partition, from, to, read...) {
		if err != nil {
			return fmt.Errorf("read %s: %w", partition, err)
		}
		if err := w.item(ctx); err != nil {
			return err
		}
		if err := f(item); err != nil {
			return err
		}
	}
	return nil
}

// Current returns the last round of a kind and its version; nil if there was
// none.
func (c *Collector) current(ctx context.Context, dry bool) (*Round, kv.Version, error) {
	r, version, err := table[Round](c).Get(ctx, kv.Round(kindOf(dry)), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the last round: %w", err)
	}
	c.observe(&r)
	return &r, version, nil
}

// observe remembers when this node first saw a round closed.
func (c *Collector) observe(r *Round) {
	last := r.closed()
	if last == nil || r.Dry {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.seen[last.ID]; known {
		return
	}
	clear(c.seen)
	at := c.Now()
	if c.Embedded {
		// Nobody else has ever used the store, and the clock is one and the same. If
		// this process is younger than the end of the round, no use began before that.
		at = time.Unix(0, last.Closed)
	}
	c.seen[last.ID] = at
}

// graceLeft is how long the grace after a closed round still lasts, as seen by
// this node.
func (c *Collector) graceLeft(last *Summary) time.Duration {
	grace := time.Duration(c.Registry.Settings().GCGrace) * time.Second
	c.mu.Lock()
	at, ok := c.seen[last.ID]
	c.mu.Unlock()
	if !ok {
		return grace
	}
	if c.plant == plantGrace {
		at = time.Unix(0, last.Started)
	}
	return grace - c.Now().Sub(at)
}

// Observe looks at the last round, so that the grace after it is known to have
// begun. A node that may begin the next one calls it now and then.
func (c *Collector) Observe(ctx context.Context) error {
	_, _, err := c.current(ctx, false)
	return err
}

// Schedule is when rounds are due.
type Schedule struct {
	LastStarted time.Time // zero: never
	Interval    time.Duration
	MinInterval time.Duration
}

// Schedule returns when the last round began and what the settings say.
func (c *Collector) Schedule(ctx context.Context) (Schedule, error) {
	r, _, err := c.current(ctx, false)
	s := c.Registry.Settings()
	out := Schedule{Interval: time.Duration(s.GCInterval) * time.Second, MinInterval: time.Duration(s.GCMinInterval) * time.Second}
	if r != nil {
		out.LastStarted = r.began()
	}
	return out, err
}

// Due tells whether a round should begin by itself: the last is as old as the
// settings say, or records that were deleted or replaced since make up 1 %.
func (c *Collector) Due(ctx context.Context) (bool, error) {
	if c.Ready() != nil {
		return false, nil
	}
	r, _, err := c.current(ctx, false)
	if err != nil {
		return false, err
	}
	if r == nil {
		// The very first: not in the way of whoever has just started the server.
		first := min(time.Duration(c.Registry.Settings().GCInterval)*time.Second, firstAfter)
		return c.Now().Sub(c.start) >= first, nil
	}
	if early := c.early(r); early != nil {
		return false, nil //nolint:nilerr // not an error, but an answer
	}
	s := c.Registry.Settings()
	if c.Now().Sub(r.began()) >= time.Duration(s.GCInterval)*time.Second {
		return true, nil
	}
	records, removed, err := c.changes(ctx)
	return err == nil && removed-r.Removed > 0 && (removed-r.Removed)*100 >= records, err
}

// firstAfter is how long after its start a node begins the very first round, at
// the most.
const firstAfter = time.Hour

// changes sums up the counters of all repositories.
func (c *Collector) changes(ctx context.Context) (records, removed int64, err error) {
	repos, err := c.Registry.Living(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, r := range repos {
		sh, err := c.Records.Shares(ctx, r.ID)
		if err != nil {
			return 0, 0, err
		}
		records, removed = records+sh.Count, removed+sh.Removed
	}
	return records, removed, nil
}

// early tells what keeps a next round from beginning now.
func (c *Collector) early(r *Round) error {
	s := c.Registry.Settings()
	least := time.Duration(s.GCMinInterval) * time.Second
	if wait := least - c.Now().Sub(r.began()); wait > 0 {
		return &EarlyError{"GC minimum interval", wait}
	}
	if last := r.closed(); last != nil {
		if wait := c.graceLeft(last); wait > 0 {
			return &EarlyError{"GC grace", wait}
		}
	}
	return nil
}
