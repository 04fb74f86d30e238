package repotest

import (
	"context"
	"errors"
	"sync"

	"granary/kv"
	"granary/kv/mem"
)

// ErrDied is what every write to a [Dying] store ends with once it has died.
var ErrDied = errors.New("the node died")

// Dying is a store in which nothing is written any more once a number of writes
// was: what a process leaves that dies.
type Dying struct {
	kv.Store
	mu   sync.Mutex
	left int // guarded by mu; -1: it does not die
}

// NewDying returns a store in memory that does not die yet.
func NewDying() *Dying { return &Dying{Store: mem.New(mem.Options{}), left: -1} }

// Set lets the n-th write from now on fail, and all after it; -1: none.
func (d *Dying) Set(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
}

// Died tells whether a write has failed since Set.
func (d *Dying) Died() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left == 0
}

// Traits are those of the store below.
func (d *Dying) Traits() kv.Traits { return kv.TraitsOf(d.Store) }

func (d *Dying) dies() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left > 0 {
		d.left--
	}
	return d.left == 0
}

// PutIf is that of the store below, until it dies.
func (d *Dying) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if d.dies() {
		return ErrDied
	}
	return d.Store.PutIf(ctx, item, old)
}

// DeleteIf is that of the store below, until it dies.
func (d *Dying) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if d.dies() {
		return ErrDied
	}
	return d.Store.DeleteIf(ctx, key, old)
}
