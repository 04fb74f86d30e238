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
	N        int            `cbor:"1,keyasint,omitempty"`
	Done     map[string]int `cbor:"2,keyasint,omitempty"` // by writer, so that adding can be repeated
}

// testCounter has writers add to one item by compare-and-swap.
func testCounter(t *testing.T, e *env) {
	const each = 12
	table := kv.Table[counter]{Store: e.store}
	key := e.key("counter")
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if _, err := table.Update(t.Context(), key, add(fmt.Sprint(w), n+1)); err != nil {
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

// add makes a writer's nth addition.
func add(writer string, n int) func(counter, bool) (counter, error) {
	return func(old counter, _ bool) (counter, error) {
		if old.Done[writer] >= n {
			return old, kv.ErrUnchanged
		}
		if old.Done == nil {
			old.Done = map[string]int{}
		}
		old.N++
		old.Done[writer] = n
		return old, nil
	}
}
