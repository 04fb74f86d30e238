package formats

import (
	"context"
	"iter"
)

// Ranger is implemented by views that can begin a scope in its middle.
type Ranger interface {
	// RecordsFrom is Records without the names below from.
	RecordsFrom(ctx context.Context, scope, from string) iter.Seq2[Record, error]
}

// RecordsFrom yields the records of a scope whose name is at least from; a view
// that is no Ranger is read from the beginning.
func RecordsFrom(ctx context.Context, v View, scope, from string) iter.Seq2[Record, error] {
	if r, ok := v.(Ranger); ok && from != "" {
		return r.RecordsFrom(ctx, scope, from)
	}
	return func(yield func(Record, error) bool) {
		for rec, err := range v.Records(ctx, scope) {
			if err == nil && rec.Name < from {
				continue
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}
