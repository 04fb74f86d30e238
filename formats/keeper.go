package formats

import (
	"context"
	"io"
	"iter"
)

// Keeper is implemented by formats in which one record needs others: an image
// its layers, a chart its signature. Retention removes nothing that a record
// which stays keeps, to any depth.
type Keeper interface {
	// Keeps yields the keys ([Record].Key) within the same repository that
	// live because rec does; it need not yield rec's own. A key that ends in a
	// slash stands for all records of that scope. What is kept need not exist. open reads the
	// record's bytes. It yields one error, last: what rec keeps is not known
	// then, and nothing may be removed for the lack of it.
	Keeps(ctx context.Context, rec Record, open func(ctx context.Context) (io.ReadCloser, error)) iter.Seq2[string, error]
	// Rooted tells whether a record lives by itself. Others, such as layers
	// and manifests without a tag, live only while something keeps them.
	Rooted(rec Record) bool
}
