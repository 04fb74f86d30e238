package formats

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Question is what an upstream is asked that is not kept: an audit, a search.
type Question struct {
	Method string // GET or POST
	Path   string // below the upstream's base
	Query  url.Values
	Header http.Header // Content-Type and the like. Optional.
	Body   []byte      // of a POST
}

// Forwarder is implemented by views that have an upstream.
type Forwarder interface {
	// Forward asks the upstream and returns its answer to be read, if that is a
	// success. ErrNotFound: it does not know, or there is no upstream.
	Forward(ctx context.Context, q Question) (io.ReadCloser, error)
}

// Forward asks the upstream of a view; one that has none is ErrNotFound.
func Forward(ctx context.Context, v View, q Question) (io.ReadCloser, error) {
	if f, ok := v.(Forwarder); ok {
		return f.Forward(ctx, q)
	}
	return nil, fmt.Errorf("%s: no upstream: %w", q.Path, ErrNotFound)
}
