package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrRunning is what every [RunningError] is.
	ErrRunning = errors.New("task: already running")
	// ErrTooSoon is for kinds whose [Admitter] refuses for now.
	ErrTooSoon = errors.New("task: too soon")
	// ErrNotFound is returned for a task that does not exist.
	ErrNotFound = errors.New("task: not found")
	// ErrUnknownKind is returned by Start for a kind that this node does not know.
	ErrUnknownKind = errors.New("task: unknown kind")
	// ErrLost says that a shard is somebody else's by now: stop.
	ErrLost = errors.New("task: shard is lost")
	// ErrCancelled says that the task was cancelled: stop.
	ErrCancelled = errors.New("task: cancelled")
	// ErrLater is returned by Run for a shard that can't be done yet, such as
	// one that needs others closed. It is tried again and does not count as a
	// failure.
	ErrLater = errors.New("task: not yet")
)

// RunningError says which task stands in the way of a start.
type RunningError struct{ Kind, ID string }

func (e *RunningError) Error() string {
	return fmt.Sprintf("a %s task is already running: %s", e.Kind, e.ID)
}

// Is makes errors.Is(err, ErrRunning) true.
func (e *RunningError) Is(target error) bool { return target == ErrRunning }

// Status is where a task is.
type Status string

// A task is pending until a node plans it. The last three are ends.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Over tells whether the status is an end.
func (s Status) Over() bool { return s == Completed || s == Failed || s == Cancelled }

// Task is a task as seen from any node.
type Task struct {
	ID     string // a UUID
	Kind   string
	Slot   string
	Params json.RawMessage // what Start was given
	By     string          // the user who started it, "": the scheduler

	Status    Status
	Created   time.Time
	Started   time.Time // zero until it is planned
	Completed time.Time // zero until it is over
	Cancel    bool      // was asked for

	Shards, Closed int // how many there are, and how many of them are over
	Progress       Progress
	Log            []Entry
	Result         json.RawMessage // what Finish made, null until then
	Summary        string
	Error          string
}

// Entry is a line of a task's log.
type Entry struct {
	Time    time.Time
	Message string
}

// Progress counts what a shard has done since its task began; a task's is the
// sum over its shards. Which fields a kind uses is its own choice.
type Progress struct {
	TotalRepos       int64  `cbor:"1,keyasint,omitempty"`
	CompletedRepos   int64  `cbor:"2,keyasint,omitempty"`
	TotalBlobs       int64  `cbor:"3,keyasint,omitempty"`
	CheckedBlobs     int64  `cbor:"4,keyasint,omitempty"`
	FailedBlobs      int64  `cbor:"5,keyasint,omitempty"`
	BytesRead        int64  `cbor:"6,keyasint,omitempty"`
	TotalBytes       int64  `cbor:"7,keyasint,omitempty"`
	TotalArtifacts   int64  `cbor:"8,keyasint,omitempty"`
	CheckedArtifacts int64  `cbor:"9,keyasint,omitempty"`
	Phase            string `cbor:"10,keyasint,omitempty"` // of a task: that of its first open shard
}

func (p *Progress) add(q Progress) {
	p.TotalRepos += q.TotalRepos
	p.CompletedRepos += q.CompletedRepos
	p.TotalBlobs += q.TotalBlobs
	p.CheckedBlobs += q.CheckedBlobs
	p.FailedBlobs += q.FailedBlobs
	p.BytesRead += q.BytesRead
	p.TotalBytes += q.TotalBytes
	p.TotalArtifacts += q.TotalArtifacts
	p.CheckedArtifacts += q.CheckedArtifacts
}

// ShardState is a shard as Finish sees it.
type ShardState struct {
	Shard    string
	Done     bool   // else Error says why not
	Result   []byte // what Run left in [Work.Result], of what was saved last if it is not done
	Progress Progress
	Error    string
}

// Kind is a kind of work. Its methods are called on any node, each perhaps
// more than once for the same task, see the package comment.
type Kind interface {
	// Name is the kind's, as clients see it.
	Name() string
	// Plan lists the shards in the order in which they are to be begun; they
	// differ. None is allowed: the task is then finished at once.
	Plan(ctx context.Context, t *Task) (shards []string, err error)
	// Run does a shard from w.Cursor on. An error is a failed try; after
	// [Tries] of them, or one that is [Final], the task has failed. Where ctx has ended, or Save has
	// returned an error, Run stops with that error.
	Run(ctx context.Context, w *Work) error
	// Finish makes the result, which is encoded as JSON, once all shards are
	// done.
	Finish(ctx context.Context, t *Task, shards []ShardState) (result any, summary string, err error)
}

// Final marks an error of Run that no further try would mend. It says the same.
func Final(err error) error { return finalError{err} }

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Slotter is implemented by kinds that may run several times at once, for
// different things. Tasks of one slot exclude each other.
type Slotter interface {
	// Slot names what the task is about, such as a repository's id.
	Slot(params json.RawMessage) (string, error)
}

// Admitter is implemented by kinds that may refuse to be started.
type Admitter interface {
	// Admit is called by Start and returns what Start then returns.
	Admit(ctx context.Context, params json.RawMessage) error
}

// Aborter is implemented by kinds that have something to report, or to put
// right, when a task has failed or was cancelled. Not all of the shards are done.
type Aborter interface {
	Abort(ctx context.Context, t *Task, shards []ShardState) (result any, summary string, err error)
}

// Bounds on what a task keeps.
const (
	// Tries is how often a shard, a plan or a finish may fail.
	Tries = 5
	// MaxResult is the longest result of a task, and of a shard, in bytes.
	MaxResult = 160 << 10
	// MaxCursor is the longest cursor in bytes.
	MaxCursor = 8 << 10

	maxLog     = 200 // lines, of which the oldest are kept…
	keepFirst  = 20  // …and the latest
	maxMessage = 500 // bytes of a line, an error, a summary
	maxParams  = 32 << 10
	maxShards  = 100_000
)
