package formats

import (
	"context"
	"iter"
	"net/http"
)

// Lister is implemented by formats whose clients list the packages of a
// repository by name: images, for one.
type Lister interface {
	// Packages yields the names in lexical order, those behind last; "" is the
	// beginning.
	Packages(ctx context.Context, view View, last string) iter.Seq2[string, error]
	// PackageOf returns the name of the package that an operation is about; ""
	// for one that is about none.
	PackageOf(op Op) string
}

// Mirror is implemented by formats whose clients name the server that they
// would ask if it were not for a mirror.
type Mirror interface {
	// Mirrors tells whether a cache of the upstream at a base URL answers for
	// the server that clients know as host, with its port if it has one.
	Mirrors(base, host string) bool
}

// Negotiator is implemented by formats whose clients say in Accept what they can
// read of what a name may point to.
type Negotiator interface {
	// Negotiated tells whether the answer to op, for which c was found, depends on
	// Accept.
	Negotiated(op Op, c *Content) bool
	// Instead is the file that a client is to get in the place of c; op itself if
	// there is none that it could read better.
	Instead(ctx context.Context, op Op, header http.Header, c *Content) (Op, error)
}
