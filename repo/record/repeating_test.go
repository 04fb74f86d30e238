package record_test

import (
	"context"

	"granary/kv"
)

// repeating sends each successful PutIf once more, as a backend does whose
// answer was lost; then is called in between.
type repeating struct {
	kv.Store
	then func(kv.Item)
}

func (r *repeating) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := r.Store.PutIf(ctx, item, old); err != nil {
		return err
	}
	r.then(item)
	return r.Store.PutIf(ctx, item, old)
}

func (r *repeating) Traits() kv.Traits { return kv.TraitsOf(r.Store) }
