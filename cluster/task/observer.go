package task

import (
	"context"
	"time"
)

// Observer counts what this node does for tasks; telemetry is one. It is called
// concurrently.
type Observer interface {
	// Began is told of each shard that this node claims; overtaken: from a node
	// that is dead.
	Began(kind string, overtaken bool)
	// Ended is told what has become of it, one of [Outcomes], after how long.
	Ended(kind, outcome string, took time.Duration)
	// Over is told of each task that this node has brought to its end.
	Over(kind string, status Status, took time.Duration)
}

// Tracer is an [Observer] that shows single shards too. It is optional.
type Tracer interface {
	// Trace is told that work at a shard begins, in the context that it returns.
	// The function is told how it ended, with one of [Outcomes]; it is nil for
	// who does not want to know.
	Trace(ctx context.Context, kind string) (_ context.Context, ended func(outcome string))
}

// Outcomes are what can become of a shard that a node was at.
var Outcomes = []string{outcomeDone, outcomeFailed, outcomeLater, outcomeLeft}

const (
	outcomeDone   = "done"
	outcomeFailed = "failed" // it is tried again, or the task fails
	outcomeLater  = "later"  // others have to be done first
	outcomeLeft   = "left"   // cancelled, taken over, or this node stops
)

// silent is the Observer of who has none.
type silent struct{}

func (silent) Began(string, bool)                  {}
func (silent) Ended(string, string, time.Duration) {}
func (silent) Over(string, Status, time.Duration)  {}
