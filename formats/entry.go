package formats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"granary/digest"
)

// EntryRecords yields what parse makes of the entry of an upstream, by name; of
// records with one name the first. There are none where entry is "". A document
// longer than parse takes ([Limit]) is an ErrUpstream.
func EntryRecords(ctx context.Context, src Source, entry string, parse func(io.Reader) ([]Record, error)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		recs, err := entryRecords(ctx, src, entry, parse)
		if err != nil {
			yield(Record{}, err)
			return
		}
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func entryRecords(ctx context.Context, src Source, entry string, parse func(io.Reader) ([]Record, error)) ([]Record, error) {
	if entry == "" {
		return nil, nil
	}
	r, err := src.Open(ctx, entry, digest.Sums{})
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	recs, err := parse(r)
	if errors.Is(err, ErrTooLarge) {
		err = Unusable(entry, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(recs, func(a, b Record) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(recs, func(a, b Record) bool { return a.Name == b.Name }), nil
}

// Unusable is an ErrUpstream: what stands at path there is no document of the
// protocol. A cause among args is not in the chain, as it is no fault of the
// client's.
func Unusable(path, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrUpstream, path, fmt.Sprintf(format, args...))
}
