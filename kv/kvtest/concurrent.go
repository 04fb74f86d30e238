package kvtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"granary/kv"
)

const writers = 8

// testOneCreates has writers create the same keys at once.
func testOneCreates(t *testing.T, e *env) {
	for n := range 10 {
		key := e.key(fmt.Sprint(n))
		var won atomic.Int64
		var winner atomic.Value
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				i := item(key, fmt.Sprint(w))
				switch err := e.store.PutIf(t.Context(), i, ""); {
				case err == nil:
					won.Add(1)
					winner.Store(i)
				case !errors.Is(err, kv.ErrConflict):
					t.Errorf("PutIf: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of %d writers created %q", won.Load(), writers, key)
		}
		e.wants(t, winner.Load().(kv.Item))
	}
}

type counter struct {
	kv.Extra `cbor:"-"`
	N        int `cbor:"1,keyasint,omitempty"`
}

// testCounter has writers add to one item by compare-and-swap.
func testCounter(t *testing.T, e *env) {
	const each = 12
	table := kv.Table[counter]{Store: e.store}
	key := e.key("counter")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := table.Update(t.Context(), key, func(old counter, _ bool) (counter, error) {
					old.N++
					return old, nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	got, _, err := table.Get(t.Context(), key, kv.Consistent)
	if err != nil || got.N != writers*each {
		t.Errorf("counter is %d, %v, want %d", got.N, err, writers*each)
	}
}
