package formats

import (
	"context"
	"iter"
)

// Lister is implemented by formats whose clients list the packages of a
// repository by name: images, for one.
type Lister interface {
	// Packages yields the names in lexical order, those behind last; "" is the
	// beginning.
	Packages(ctx context.Context, view View, last string) iter.Seq2[string, error]
}
