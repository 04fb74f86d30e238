// Package audit keeps who did what to what, from where, by which credential and
// with which result. Entries are added in memory and written in chunks, one a
// second and node at the most, so that a request waits for no store; what a
// crash loses is the last second. Chunks lie in a partition per day, are written
// once, and expire.
//
// An entry has the path of a request and never its query, header or body, where
// secrets are.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"granary/kv"
)

const (
	flushEvery = time.Second
	maxPending = 20_000    // entries in memory, about 8 MiB; more are dropped and counted
	maxChunk   = 192 << 10 // bytes of a chunk, below kv.MaxValue
	maxText    = 512       // bytes of a path and of a name
	// maxRefused is how many refusals a second are written one by one.
	maxRefused = 500
	// maxSpan is the most time between the first and the last entry of a chunk.
	maxSpan = 2 * time.Second
)

// Entry is one line of the log.
type Entry struct {
	ID         string // unique; set by the log
	Time       time.Time
	Username   string // who asked; of a log-in, who was named
	Credential string // "password", "session", "token <id>", "" for none
	IP         string
	Method     string
	Path       string // without query
	Action     string // the operation's name
	Repo       string
	Status     int
	RequestID  string
	// Count is how many refusals the entry stands for; 0 is one.
	Count int
}

// record is an entry as stored.
type record struct {
	kv.Extra   `cbor:"-"`
	Time       int64  `cbor:"1,keyasint,omitempty"` // Unix nanoseconds
	Username   string `cbor:"2,keyasint,omitempty"`
	Credential string `cbor:"3,keyasint,omitempty"`
	IP         string `cbor:"4,keyasint,omitempty"`
	Method     string `cbor:"5,keyasint,omitempty"`
	Path       string `cbor:"6,keyasint,omitempty"`
	Action     string `cbor:"7,keyasint,omitempty"`
	Repo       string `cbor:"8,keyasint,omitempty"`
	Status     int    `cbor:"9,keyasint,omitempty"`
	RequestID  string `cbor:"10,keyasint,omitempty"`
	Count      int    `cbor:"11,keyasint,omitempty"`
}

// chunk is what one write stores, in the order of time.
type chunk struct {
	kv.Extra `cbor:"-"`
	Entries  []record `cbor:"1,keyasint,omitempty"`
}

// Config of a [Log]. KV and Node are required.
type Config struct {
	KV   kv.Store
	Node string // unique among the nodes
	// Keep is asked how long entries are kept. Optional: 90 days.
	Keep func() time.Duration
	Now  func() time.Time // optional
	Log  *slog.Logger     // optional
}

// Log is the audit log of a cluster as one node writes it.
type Log struct {
	Config

	mu      sync.Mutex // protects the fields below
	pending []Entry
	refused int // since the last flush
	merged  int // refusals that were not kept one by one
	dropped int
	written uint64 // chunks
}

// New returns a log. Run writes what Add adds.
func New(c Config) *Log {
	if c.Keep == nil {
		c.Keep = func() time.Duration { return 90 * 24 * time.Hour }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Log{Config: c}
}

// Add adds an entry. It takes no time worth mentioning. Of refusals (401, 403)
// beyond some hundreds a second only the number is kept.
func (l *Log) Add(e Entry) {
	e.Path, e.Username = shorten(e.Path), shorten(e.Username)
	e.Action, e.Repo = shorten(e.Action), shorten(e.Repo)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Status == 401 || e.Status == 403 {
		if l.refused++; l.refused > maxRefused {
			l.merged++
			return
		}
	}
	if len(l.pending) >= maxPending {
		l.dropped++
		return
	}
	l.pending = append(l.pending, e)
}

// shorten gives s as valid UTF-8, cut between characters after maxText bytes.
func shorten(s string) string {
	cut := len(s) > maxText
	if cut {
		end := maxText
		for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	if s = strings.ToValidUTF8(s, "\uFFFD"); cut {
		s += "…"
	}
	return s
}

// Run writes entries until ctx ends, and the rest then.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			l.report(last, l.Flush(last))
			return
		case <-tick.C:
		}
		l.report(ctx, l.Flush(ctx))
	}
}

func (l *Log) report(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		l.Log.WarnContext(ctx, "write the audit log; it is tried again", "error", err)
	}
}

// Flush writes what was added. What can't be written is kept for the next one.
func (l *Log) Flush(ctx context.Context) error {
	entries, dropped := l.take()
	if dropped > 0 {
		l.Log.ErrorContext(ctx, "the audit log could not be written for long; entries are lost", "entries", dropped)
	}
	for len(entries) > 0 {
		n := chunkOf(entries)
		if err := l.write(ctx, entries[:n]); err != nil {
			l.giveBack(entries)
			return err
		}
		entries = entries[n:]
	}
	return nil
}

func (l *Log) take() (entries []Entry, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries, dropped = l.pending, l.dropped
	if l.merged > 0 {
		entries = append(entries, Entry{Time: l.Now(), Action: "refusals", Status: 401, Count: l.merged})
	}
	l.pending, l.refused, l.merged, l.dropped = nil, 0, 0, 0
	return entries, dropped
}

func (l *Log) giveBack(entries []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(entries, l.pending...)
}

// chunkOf tells how many entries go into the next chunk.
func chunkOf(entries []Entry) int {
	n, size := 1, entries[0].size()
	for n < len(entries) && entries[n].Time.Sub(entries[0].Time).Abs() <= maxSpan {
		if size += entries[n].size(); size > maxChunk {
			break
		}
		n++
	}
	return n
}

// size is about what the entry takes in a chunk, in bytes.
func (e *Entry) size() int {
	return 64 + len(e.Username) + len(e.Credential) + len(e.IP) + len(e.Method) + len(e.Path) + len(e.Action) + len(e.Repo) + len(e.RequestID)
}

func (l *Log) write(ctx context.Context, entries []Entry) error {
	c := chunk{Entries: make([]record, len(entries))}
	for i, e := range entries {
		c.Entries[i] = record{
			Time: e.Time.UnixNano(), Username: e.Username, Credential: e.Credential, IP: e.IP, Method: e.Method, Path: e.Path,
			Action: e.Action, Repo: e.Repo, Status: e.Status, RequestID: e.RequestID, Count: e.Count,
		}
	}
	value, err := kv.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the audit log: %w", err)
	}
	l.mu.Lock()
	l.written++
	key := kv.Audit(entries[0].Time, l.Node, l.written)
	l.mu.Unlock()
	item := kv.Item{Key: key, Value: value, Version: kv.NewVersion(), Expires: l.Now().Add(l.Keep())}
	err = l.KV.PutIf(ctx, item, "")
	if errors.Is(err, kv.ErrConflict) {
		return nil // only this node writes the key: it is there already
	}
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}
