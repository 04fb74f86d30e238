// Package check tries out a blob store at run time: it writes, reads, lists,
// ranges, conditionally creates and deletes under ids of its own, names each
// property, and leaves nothing behind. It is what an operator runs against a
// store that granary was not built with, and the core of package blobtest.
package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"granary/blob"
)

// cleanTimeout is how long removing what was written may take.
const cleanTimeout = 30 * time.Second

// Result is the outcome for one property.
type Result struct {
	Property string
	Err      error // nil if the store has it
	// Advisory says that granary's data is safe without the property.
	Advisory bool
}

// Inspector is implemented by stores that know more to check than behaviour:
// rules of the bucket, say.
type Inspector interface {
	// Inspect returns an error for what endangers blobs, and warnings for what
	// only costs.
	Inspect(ctx context.Context) (warnings []string, err error)
}

// Run checks s. It ends early, with failed results, when ctx does.
func Run(ctx context.Context, s blob.Store) []Result {
	return Checker{Store: s, Now: time.Now, Random: rand.Reader}.Run(ctx)
}

// Err returns what is wrong with a store that gave these results, nil if
// nothing but advice is.
func Err(results []Result) error {
	var errs []error
	for _, r := range results {
		if r.Err != nil && !r.Advisory {
			errs = append(errs, fmt.Errorf("%s: %w", r.Property, r.Err))
		}
	}
	return errors.Join(errs...)
}

// Checker is a check with its own clock and randomness.
type Checker struct {
	Store  blob.Store
	Now    func() time.Time
	Random io.Reader
}

// property is one test of a store.
type property struct {
	name     string
	advisory bool
	run      func(ctx context.Context, r *run) error
}

var properties = []property{
	{"what is missing is reported as such", false, missing},
	{"a blob is read as it was written", false, roundTrip},
	{"a blob longer than a part is read as it was written", false, large},
	{"ranges give exactly what was asked", false, ranges},
	{"nothing is visible before commit", false, invisible},
	{"abort leaves nothing", false, abort},
	{"a wrong length is refused", false, wrongLength},
	{"lists find every blob by prefix", false, lists},
	{"several writers and readers work at once", false, concurrent},
	{"an id is created once", true, createOnce},
	{"the store's clock is within five minutes", true, clock},
	{"delete removes, once and again", false, deletes},
}

// Run checks the store.
func (c Checker) Run(ctx context.Context) []Result {
	r := &run{Checker: c}
	var out []Result
	for _, p := range properties {
		out = append(out, Result{p.name, p.run(ctx, r), p.advisory})
	}
	out = append(out, Result{Property: "the check leaves nothing behind", Err: r.clean(ctx)})
	return append(out, inspect(ctx, c.Store)...)
}

func inspect(ctx context.Context, s blob.Store) []Result {
	i, ok := blob.As[Inspector](s)
	if !ok {
		return nil
	}
	warnings, err := i.Inspect(ctx)
	out := []Result{{Property: "the store's rules keep blobs", Err: err}}
	for _, w := range warnings {
		out = append(out, Result{"the store's rules don't cost more than needed", errors.New(w), true})
	}
	return out
}
