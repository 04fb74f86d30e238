package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"granary/kv"
)

// claim says who is at something.
type claim struct {
	Node  string `cbor:"1,keyasint,omitempty"` // "": nobody
	Epoch uint64 `cbor:"2,keyasint,omitempty"` // grows with each claim
}

// next is the claim that follows.
func (c claim) next(node string, now time.Time) claim {
	return claim{node, max(c.Epoch+1, uint64(max(0, now.UnixMilli())))}
}

// record is a task as stored.
type record struct {
	kv.Extra `cbor:"-"`

	ID        string   `cbor:"1,keyasint"`
	Kind      string   `cbor:"2,keyasint"`
	Slot      string   `cbor:"3,keyasint"`
	Params    []byte   `cbor:"4,keyasint,omitempty"` // JSON
	By        string   `cbor:"5,keyasint,omitempty"`
	Created   int64    `cbor:"6,keyasint"` // Unix milliseconds, as the next two
	Started   int64    `cbor:"7,keyasint,omitempty"`
	Completed int64    `cbor:"8,keyasint,omitempty"`
	Status    Status   `cbor:"9,keyasint"`
	Cancel    bool     `cbor:"10,keyasint,omitempty"`
	Claim     claim    `cbor:"11,keyasint"`           // of the plan or the finish
	Plan      uint64   `cbor:"12,keyasint,omitempty"` // epoch of the plan that counts, 0: there is none
	Shards    int      `cbor:"13,keyasint,omitempty"`
	Failures  int      `cbor:"14,keyasint,omitempty"` // of the plan, then of the finish
	Log       []line   `cbor:"15,keyasint,omitempty"`
	Progress  Progress `cbor:"16,keyasint"` // once it is over
	Result    []byte   `cbor:"17,keyasint,omitempty"`
	Summary   string   `cbor:"18,keyasint,omitempty"`
	Error     string   `cbor:"19,keyasint,omitempty"`
	Closed    int      `cbor:"20,keyasint,omitempty"` // shards, once it is over
}

type line struct {
	Time    int64  `cbor:"1,keyasint"`
	Message string `cbor:"2,keyasint"`
}

// shardRecord is a shard as stored.
type shardRecord struct {
	kv.Extra `cbor:"-"`

	Shard    string   `cbor:"1,keyasint"`
	State    state    `cbor:"2,keyasint,omitempty"`
	Claim    claim    `cbor:"3,keyasint"`
	Cursor   []byte   `cbor:"4,keyasint,omitempty"`
	Result   []byte   `cbor:"5,keyasint,omitempty"`
	Progress Progress `cbor:"6,keyasint"`
	Failures int      `cbor:"7,keyasint,omitempty"`
	Error    string   `cbor:"8,keyasint,omitempty"` // of the last try
}

type state uint8

const (
	open state = iota
	done
	failed
	dropped // the task was cancelled or has failed
)

// last is when a slot's task was last started.
type last struct {
	kv.Extra `cbor:"-"`

	ID      string `cbor:"1,keyasint"`
	Started int64  `cbor:"2,keyasint"` // Unix milliseconds
}

func millis(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.UnixMilli(t).UTC()
}

func (r *record) task() Task {
	t := Task{
		ID: r.ID, Kind: r.Kind, Slot: r.Slot, Params: r.Params, By: r.By, Status: r.Status, Cancel: r.Cancel,
		Created: millis(r.Created), Started: millis(r.Started), Completed: millis(r.Completed),
		Shards: r.Shards, Closed: r.Closed, Progress: r.Progress,
		Result: r.Result, Summary: r.Summary, Error: r.Error,
	}
	for _, l := range r.Log {
		t.Log = append(t.Log, Entry{millis(l.Time), l.Message})
	}
	return t
}

// log appends a line; where there are too many, those in the middle go.
func (r *record) log(now time.Time, message string) {
	r.Log = append(r.Log, line{now.UnixMilli(), clip(message)})
	if len(r.Log) > maxLog {
		r.Log = append(r.Log[:keepFirst:keepFirst], r.Log[len(r.Log)-maxLog+keepFirst:]...)
	}
}

// clip bounds a text that comes from outside.
func clip(s string) string {
	if len(s) <= maxMessage {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	n := maxMessage
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\uFFFD") + "…"
}

func (s *shardRecord) shardState() ShardState {
	return ShardState{Shard: s.Shard, Done: s.State == done, Result: s.Result, Progress: s.Progress, Error: s.Error}
}

// encode is JSON of a result within bounds.
func encode(result any) ([]byte, error) {
	if result == nil {
		return nil, nil
	}
	data, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	if len(data) > MaxResult {
		return nil, fmt.Errorf("the result has %d bytes, at most %d are possible", len(data), MaxResult)
	}
	return data, nil
}

// put is a conditional write that is sent until its outcome is known or ctx
// ends, and the version that it stored.
func put[T any](ctx context.Context, s kv.Store, key kv.Key, value T, old kv.Version) (kv.Version, error) {
	data, err := kv.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("%v: %w", key, err)
	}
	item := kv.Item{Key: key, Value: data, Version: kv.NewVersion()}
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.PutIf(ctx, item, old)
		if err == nil {
			return item.Version, nil
		}
		if !errors.Is(err, kv.ErrUnknown) && !errors.Is(err, kv.ErrThrottled) || !sleep(ctx, rand.N(2*wait)) {
			return "", err
		}
	}
}

// remove deletes a version; what is gone already is no error.
func remove(ctx context.Context, s kv.Store, key kv.Key, old kv.Version) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.DeleteIf(ctx, key, old)
		if err == nil || errors.Is(err, kv.ErrConflict) {
			return nil
		}
		if !errors.Is(err, kv.ErrUnknown) && !errors.Is(err, kv.ErrThrottled) || !sleep(ctx, rand.N(2*wait)) {
			return err
		}
	}
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
