package gc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"granary/blob"
	"granary/kv"
)

// The parts of a round, in the order in which they can be done. A name is also
// that of the outcome.
//
//	mark/<batch>/<pass>      no part before it
//	sweep/<store>/<0-f>      after all marks: sixteen prefixes
//	bucket/<store>/<letter>  after all sweeps of the store: objects whose path begins so
//	drain/<repo>             a deleted repository
//	multipart/<store>        multipart uploads that nobody goes on with
const (
	partMark      = "mark"
	partSweep     = "sweep"
	partBucket    = "bucket"
	partDrain     = "drain"
	partMultipart = "multipart"
)

const hexDigits = "0123456789abcdef"

// letters are those that paths of blobs begin with.
const letters = "0123456789abcdefghjkmnpqrstvwxyz"

func markPart(batch, pass int) string { return fmt.Sprintf("%s/%04d/%d", partMark, batch, pass) }
func sweepPart(store string, digit int) string {
	return partSweep + "/" + store + "/" + hexDigits[digit:digit+1]
}
func bucketPart(store string, letter int) string {
	return partBucket + "/" + store + "/" + letters[letter:letter+1]
}

// Parts lists what a round is made of.
func (r *Round) Parts() []string {
	var out []string
	for b := range r.Batches {
		for p := range r.Passes {
			out = append(out, markPart(b, p))
		}
	}
	for _, id := range r.Drains {
		out = append(out, partDrain+"/"+id)
	}
	for _, s := range r.Stores {
		if !r.Dry {
			out = append(out, partMultipart+"/"+s.ID)
		}
		for d := range len(hexDigits) {
			out = append(out, sweepPart(s.ID, d))
		}
	}
	if r.Bucket {
		for _, s := range r.Stores {
			for l := range len(letters) {
				out = append(out, bucketPart(s.ID, l))
			}
		}
	}
	return out
}

// Part does one part of a round, from its beginning, unless it is closed. Any
// number of workers may do the same part: the first to end it counts. ErrNotYet
// if others have to be closed first.
func (c *Collector) Part(ctx context.Context, dry bool, round blob.ID, part string, beat Beat) error {
	r, _, err := c.current(ctx, dry)
	if err != nil {
		return err
	}
	if r == nil || r.ID != round || r.Closed != 0 {
		return fmt.Errorf("%w: %s", ErrOver, round)
	}
	if beat == nil {
		beat = func(context.Context, int) error { return nil }
	}
	w := &worker{Collector: c, round: r, beat: beat}
	if err := w.do(ctx, part); err != nil {
		return fmt.Errorf("round %d, %s: %w", r.Number, part, err)
	}
	return nil
}

func (w *worker) do(ctx context.Context, part string) error {
	if closed, err := w.closed(ctx, w.round.ID, part); err != nil || closed {
		return err
	}
	kind, rest, _ := strings.Cut(part, "/")
	first, second, _ := strings.Cut(rest, "/")
	switch kind {
	case partMark:
		batch, err1 := strconv.Atoi(first)
		pass, err2 := strconv.Atoi(second)
		if err1 == nil && err2 == nil && pass >= 0 && pass < w.round.Passes {
			return w.mark(ctx, part, batch, pass)
		}
	case partSweep:
		s, ok := w.round.store(first)
		if digit := strings.Index(hexDigits, second); ok && len(second) == 1 && digit >= 0 {
			return w.sweep(ctx, part, s, digit)
		}
	case partBucket:
		s, ok := w.round.store(first)
		if letter := strings.Index(letters, second); ok && len(second) == 1 && letter >= 0 {
			return w.bucket(ctx, part, s, letter)
		}
	case partDrain:
		return w.drain(ctx, part, rest)
	case partMultipart:
		return w.multipart(ctx, part, rest)
	}
	return fmt.Errorf("unknown part %q", part)
}

// closed tells whether a part has an outcome.
func (c *Collector) closed(ctx context.Context, round blob.ID, part string) (bool, error) {
	_, err := c.kv.Get(ctx, kv.RoundPart(string(round), part), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read part %s of round %s: %w", part, round, err)
	}
	return true, nil
}

// open returns the first of some parts that is not closed yet, "" if all are.
func (c *Collector) open(ctx context.Context, round blob.ID, parts []string) (string, error) {
	for _, p := range parts {
		if closed, err := c.closed(ctx, round, p); err != nil || !closed {
			return p, err
		}
	}
	return "", nil
}
