package formats

import (
	"context"
	"fmt"
)

// Documents are those that a [Caller]'s repository serves.
type Documents interface {
	// Document returns what a client would be sent for op, a Doc. ErrNotFound if
	// there is none.
	Document(ctx context.Context, op Op) (*Content, error)
}

type documentsKey struct{}

// WithDocuments gives a [Caller] the documents of the repository.
func WithDocuments(ctx context.Context, d Documents) context.Context {
	return context.WithValue(ctx, documentsKey{}, d)
}

// DocumentOf returns a document of what WithDocuments gave; without that there
// is none.
func DocumentOf(ctx context.Context, op Op) (*Content, error) {
	if d, ok := ctx.Value(documentsKey{}).(Documents); ok {
		return d.Document(ctx, op)
	}
	return nil, fmt.Errorf("%s: %w", Join(op.Scope, op.Path), ErrNotFound)
}
