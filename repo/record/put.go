package record

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"granary/formats"
	"granary/kv"
)

// Verdict is what shall become of a record that is already there.
type Verdict uint8

// The verdicts. The zero value is none of them.
const (
	Replace Verdict = iota + 1 // write the new one; the old goes to history
	Same                       // keep the old one; the write succeeds
	Refuse                     // keep the old one; the write fails with the error beside the verdict
)

// Decide judges a write by what it would replace: nil if there is nothing, or
// a tombstone. It may be called several times, the last time with what the
// write really met.
type Decide func(old *Record) (Verdict, error)

// Outcome is what a Put did.
type Outcome struct {
	Record   Record // as stored, also if that is the old one
	Version  kv.Version
	Replaced *Record // nil if there was nothing
	Same     bool    // nothing was written
}

var errVerdict = errors.New("record: the verdict on a write must be Replace, Same (of a record that exists) or Refuse with an error")

// Put writes a record as decide says, nil being Replace. Since is set, Created
// is kept from what it replaces, and both Created and Updated are set if zero.
// A new path costs one write and no read, unless decide refuses a path that
// holds nothing; an existing one at most one read, and three writes.
func (s *Store) Put(ctx context.Context, sp kv.Space, scope, name string, rec Record, decide Decide) (Outcome, error) {
	if err := checkName(scope, name); err != nil {
		return Outcome{}, err
	}
	if decide == nil {
		decide = func(*Record) (Verdict, error) { return Replace, nil }
	}
	w := s.begin(sp, scope, name)
	out, err := w.put(ctx, rec, decide)
	switch {
	case err != nil:
		w.end(nil, nil, !refusal(err))
		return Outcome{}, fmt.Errorf("write record %s: %w", formats.Join(scope, name), err)
	case out.Same:
		w.end(nil, nil, false)
	case rec.Commit != "":
		w.end(nil, nil, false) // counted when it is seen, see Count
	default:
		w.end(out.Replaced, &out.Record, false)
	}
	return out, nil
}

// refused marks errors after which certainly nothing was written.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

func refusal(err error) bool {
	var r refused
	return errors.As(err, &r)
}

// write is one change of one record.
type write struct {
	*Store
	sp          kv.Space
	scope, name string
	key         kv.Key
	hold        *overlap
}

func (s *Store) begin(sp kv.Space, scope, name string) *write {
	return &write{Store: s, sp: sp, scope: scope, name: name, key: sp.Record(scope, name), hold: s.totals.begin(sp.Repo, scope)}
}

// end counts what the write did: old is what it replaced and now what it
// wrote, nil for nothing. unknown: it may or may not have happened.
func (w *write) end(old, now *Record, unknown bool) {
	var d delta
	if old != nil && !old.Hidden(w.name) {
		d.count, d.bytes, d.removed = -1, -old.Size, 1
	}
	if now != nil && !now.Deleted && !now.Hidden(w.name) {
		d.count, d.bytes = d.count+1, d.bytes+now.Size
	}
	if now != nil {
		d.modified = now.Since
	}
	if old != nil && !old.Hidden(w.name) || now != nil && !now.Hidden(w.name) {
		w.counts.add(w.sp, w.scope, d)
	}
	w.hold.end(w.name, int(d.count), unknown)
}

func (w *write) put(ctx context.Context, rec Record, decide Decide) (Outcome, error) {
	rec.Nonce = nonce()
	var old state
	if v, err := decide(nil); err != nil || v != Replace {
		// A write that may not go to an empty path has to look first.
		if old, err = w.head(ctx); err != nil {
			return Outcome{}, refused{err}
		}
	}
	for try := 0; ; try++ {
		if rec.Commit != "" && old.version != "" && old.rec.Commit == rec.Commit {
			return Outcome{Record: old.rec, Version: old.version, Same: true}, nil // by an earlier try
		}
		verdict, err := decide(old.live())
		switch {
		case err != nil:
			return Outcome{}, refused{err}
		case verdict == Same && old.live() != nil:
			return Outcome{Record: *old.live(), Version: old.version, Same: true}, nil
		case verdict != Replace:
			return Outcome{}, refused{errVerdict}
		}
		now, done, err := w.swap(ctx, old, w.successor(old, rec))
		if err != nil {
			return Outcome{}, err
		}
		if done {
			return Outcome{Record: now.rec, Version: now.version, Replaced: old.live()}, nil
		}
		old = now
		if err := pause(ctx, try); err != nil {
			return Outcome{}, refused{err}
		}
	}
}

// head reads what the write meets.
func (w *write) head(ctx context.Context) (state, error) {
	st, err := w.load(ctx, w.key, kv.Consistent)
	if err == nil {
		err = w.settle(ctx, w.sp, w.scope, w.name, &st)
	}
	return st, err
}

func nonce() uint64 { return rand.Uint64() } //nolint:gosec // only to be unlikely the same twice

// successor completes rec as the one that follows old.
func (w *write) successor(old state, rec Record) Record {
	rec.Since, rec.Deleted = w.now().UnixNano(), false
	if old.version != "" {
		rec.Since = max(rec.Since, old.rec.Since+1)
	}
	if was := old.live(); was != nil && was.Created != 0 {
		rec.Created = was.Created
	}
	if rec.Created == 0 {
		rec.Created = rec.Since
	}
	if rec.Updated == 0 {
		rec.Updated = rec.Since
	}
	return rec
}

// swap puts next in the place of old, which goes to history first. It returns
// the new state and true, or what it met instead.
func (w *write) swap(ctx context.Context, old state, next Record) (state, bool, error) {
	if err := w.keep(ctx, old); err != nil {
		return state{}, false, refused{err}
	}
	value, err := kv.Marshal(next)
	if err != nil {
		return state{}, false, refused{err}
	}
	item := kv.Item{Key: w.key, Value: value, Version: kv.NewVersion()}
	err = w.kv.PutIf(ctx, item, old.version)
	if err == nil {
		return state{rec: next, raw: value, version: item.Version}, true, nil
	}
	if !errors.Is(err, kv.ErrConflict) {
		return state{}, false, settled(err)
	}
	now, err := stateOf(kv.Current(ctx, w.kv, w.key, err))
	if err == nil {
		err = w.settle(ctx, w.sp, w.scope, w.name, &now)
	}
	if err != nil {
		return state{}, false, err
	}
	landed, err := w.landed(ctx, now, next, item)
	if err != nil || !landed {
		return now, false, err
	}
	return state{rec: next, raw: value, version: item.Version}, true, nil
}

// settled marks the errors of a store that say that nothing was written.
func settled(err error) error {
	if errors.Is(err, kv.ErrUnknown) {
		return err // although a later try was refused
	}
	for _, known := range []error{kv.ErrThrottled, kv.ErrTooLarge, kv.ErrNoSpace, kv.ErrInvalid} {
		if errors.Is(err, known) {
			return refused{err}
		}
	}
	return err
}

// landed tells whether a refused swap had happened all the same: a first
// attempt whose answer was lost took effect, and somebody replaced the record
// before the attempt was repeated. Doing it once more would bring back what
// that write replaced. History tells, for it has then what we wrote.
func (w *write) landed(ctx context.Context, now state, next Record, item kv.Item) (bool, error) {
	if now.version == item.Version {
		return true, nil
	}
	if now.version == "" || now.rec.Since <= next.Since {
		return false, nil
	}
	past, err := w.load(ctx, w.sp.Replaced(w.scope, w.name, next.Since), kv.Consistent)
	return err == nil && past.version != "" && past.rec.Nonce == next.Nonce, err
}

// keep writes the history of what is about to be replaced. Every racer writes
// the same under the same key, so that it does not matter who does.
func (w *write) keep(ctx context.Context, old state) error {
	if old.version == "" {
		return nil
	}
	key := w.sp.Replaced(w.scope, w.name, old.rec.Since)
	err := w.kv.PutIf(ctx, kv.Item{Key: key, Value: old.raw, Version: kv.NewVersion()}, "")
	if !errors.Is(err, kv.ErrConflict) {
		return err
	}
	there, err := stateOf(kv.Current(ctx, w.kv, key, err))
	if err != nil {
		return err
	}
	if there.version != "" && !there.rec.same(old.rec) {
		return fmt.Errorf("%w: history %v is that of another record", formats.ErrCorrupt, key)
	}
	return nil
}
