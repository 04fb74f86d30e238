package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/blob"
	"granary/gc/filter"
	"granary/kv"
	"granary/repo/record"
)

// Round is the record of a round, at [kv.Round]. Times are Unix nanoseconds.
type Round struct {
	kv.Extra `cbor:"-"`

	ID      blob.ID `cbor:"1,keyasint"`
	Number  uint64  `cbor:"2,keyasint"`
	Started int64   `cbor:"3,keyasint"`
	Closed  int64   `cbor:"4,keyasint,omitempty"` // 0: not yet, or given up
	Dry     bool    `cbor:"5,keyasint,omitempty"`
	Bucket  bool    `cbor:"6,keyasint,omitempty"` // objects without a reference are looked for, too

	Stores  []Swept  `cbor:"7,keyasint"`
	Batches int      `cbor:"8,keyasint"`
	Passes  int      `cbor:"9,keyasint"`            // each batch is marked so often, for as many groups of prefixes
	Drains  []string `cbor:"10,keyasint,omitempty"` // ids of deleted repositories

	// Last is the last round that was closed, whose lists this one may act on.
	Last *Summary `cbor:"11,keyasint,omitempty"`
	// LastBucket is the last closed one that looked for objects.
	LastBucket *Summary `cbor:"12,keyasint,omitempty"`
	// Old are rounds whose parts are still to be removed.
	Old []blob.ID `cbor:"13,keyasint,omitempty"`

	Removed int64  `cbor:"14,keyasint,omitempty"` // records deleted or replaced until it began
	Result  Result `cbor:"15,keyasint"`
	Task    string `cbor:"16,keyasint,omitempty"` // id of the task that does it
}

// Swept is a blob store in a round.
type Swept struct {
	ID         string        `cbor:"1,keyasint"`
	Filter     filter.Params `cbor:"2,keyasint"` // by content
	IDs        filter.Params `cbor:"3,keyasint"` // by blob id, in a round with a bucket pass
	References int64         `cbor:"4,keyasint"` // counted by the sweep
	Doubled    bool          `cbor:"5,keyasint"` // filters turned out too small: the next are twice as large
	// Kept is what the sweep left in the store.
	Kept *Content `cbor:"6,keyasint,omitempty"`
}

// Content is a number of contents, each counted once, and their bytes.
type Content struct {
	Blobs int64 `cbor:"1,keyasint,omitempty"`
	Bytes int64 `cbor:"2,keyasint,omitempty"`
}

// Summary is what a round needs to know of an earlier one.
type Summary struct {
	ID      blob.ID `cbor:"1,keyasint"`
	Number  uint64  `cbor:"2,keyasint"`
	Started int64   `cbor:"3,keyasint"`
	Closed  int64   `cbor:"4,keyasint"`
	Stores  []Swept `cbor:"5,keyasint"`
	Removed int64   `cbor:"6,keyasint,omitempty"`
}

func (r *Round) summary() *Summary {
	return &Summary{ID: r.ID, Number: r.Number, Started: r.Started, Closed: r.Closed, Stores: r.Stores, Removed: r.Removed}
}

// closed is the last closed round as of the record r, itself included.
func (r *Round) closed() *Summary {
	if r.Closed != 0 {
		return r.summary()
	}
	return r.Last
}

func (r *Round) store(id string) (Swept, bool) {
	for _, s := range r.Stores {
		if s.ID == id {
			return s, true
		}
	}
	return Swept{}, false
}

func (r *Round) began() time.Time { return time.Unix(0, r.Started) }

// group is the range of prefixes of one pass of a mark.
func (r *Round) group(pass int) (from, to int) {
	return pass * filter.Prefixes / r.Passes, (pass + 1) * filter.Prefixes / r.Passes
}

// The kinds of rounds, as they are stored.
const (
	realRound = "round"
	dryRound  = "dry"
)

func kindOf(dry bool) string {
	if dry {
		return dryRound
	}
	return realRound
}

// plan is what a batch of a mark is made of, at g/<round> plan/<batch>.
type plan struct {
	kv.Extra `cbor:"-"`

	Spans []span `cbor:"1,keyasint"`
}

// span is a range of a repository's shards.
type span struct {
	Repo   string `cbor:"1,keyasint"`
	Shards int    `cbor:"2,keyasint"`
	From   int    `cbor:"3,keyasint"`
	To     int    `cbor:"4,keyasint"`
	Hosted bool   `cbor:"5,keyasint,omitempty"`
	// Before are the repository's counters when the round began; in its first span.
	Before *record.Shares `cbor:"6,keyasint,omitempty"`
}

func (s span) space() kv.Space { return kv.Space{Repo: s.Repo, Shards: s.Shards} }

// marked is the outcome of a part of a mark.
type marked struct {
	kv.Extra `cbor:"-"`

	// Objects holds the filters of the stores that anything was found in, by store.
	Objects map[string]blob.ID `cbor:"1,keyasint,omitempty"`
	IDs     map[string]blob.ID `cbor:"2,keyasint,omitempty"`
	From    int                `cbor:"3,keyasint"` // prefixes
	To      int                `cbor:"4,keyasint"`
	Counts  []counted          `cbor:"5,keyasint,omitempty"` // of the first pass
	Tally   Tally              `cbor:"6,keyasint"`
}

// counted is what part of a repository holds.
type counted struct {
	Repo   string         `cbor:"1,keyasint"`
	Count  int64          `cbor:"2,keyasint"`
	Bytes  int64          `cbor:"3,keyasint"`
	Before *record.Shares `cbor:"4,keyasint,omitempty"`
}

// swept is the outcome of a part of a sweep.
type swept struct {
	kv.Extra `cbor:"-"`

	Lists      map[int]list `cbor:"1,keyasint,omitempty"` // by prefix
	References int64        `cbor:"2,keyasint"`
	Rate       float64      `cbor:"3,keyasint"`           // the greatest false-positive rate of a prefix
	Blobs      blob.ID      `cbor:"4,keyasint,omitempty"` // filter of the blob ids that references name
	Tally      Tally        `cbor:"5,keyasint"`
	Kept       Content      `cbor:"6,keyasint,omitzero"`
}

// listedObjects is the outcome of a part of the bucket pass.
type listedObjects struct {
	kv.Extra `cbor:"-"`

	List  list  `cbor:"1,keyasint"`
	Tally Tally `cbor:"2,keyasint"`
}

// done is the outcome of any other part.
type done struct {
	kv.Extra `cbor:"-"`

	Tally Tally `cbor:"1,keyasint"`
}

// table reads and writes one kind of outcome.
func table[T any](c *Collector) kv.Table[T] { return kv.Table[T]{Store: c.kv} }

// outcome reads what a part has come to; ok is false while it is open.
func outcome[T any](ctx context.Context, c *Collector, round blob.ID, part string) (value T, ok bool, err error) {
	value, _, err = table[T](c).Get(ctx, kv.RoundPart(string(round), part), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return value, false, nil
	}
	if err != nil {
		return value, false, fmt.Errorf("read part %s of round %s: %w", part, round, err)
	}
	return value, true, nil
}

// settle writes the outcome of a part, once. won is false if another worker was
// first: then that one's counts.
func settle[T any](ctx context.Context, c *Collector, round blob.ID, part string, value T) (won bool, err error) {
	_, err = table[T](c).Create(ctx, kv.RoundPart(string(round), part), value)
	if errors.Is(err, kv.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("close part %s of round %s: %w", part, round, err)
	}
	return true, nil
}
