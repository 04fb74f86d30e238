package repo

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// Files whose bytes never change do change at some upstreams: a package is signed
// again, or built again under its old name, and the index promises other bytes
// from then on. A copy of the old ones would be wrong for ever.

// lookAgain is how long what the latest indexes are is taken to be known.
const lookAgain = 30 * time.Second

// latest are the ledgers of a cache's latest indexes, one for each scope.
type latest struct {
	at   time.Time
	keys []string // of tables
}

// superseded tells whether an index promises other bytes of a file than its copy
// has. It goes by what is in memory, and looks for newer indexes meanwhile: who
// asks for a file does not wait for that.
func (c *cache) superseded(ctx context.Context, op formats.Op, sums digest.Sums) bool {
	l, ok := c.repo.format.(formats.Ledger)
	if !ok || !l.Entered(op) {
		return false
	}
	known, _ := c.service.ledgers.latest.GetIfPresent(c.repo.ID)
	if now := c.service.Now(); now.Sub(known.at) >= lookAgain {
		known.at = now
		c.service.ledgers.latest.Set(c.repo.ID, known) // one looks
		c.service.background(ctx, func(ctx context.Context) { c.lookForIndexes(ctx, l, known) })
	}
	for _, key := range known.keys {
		t, _ := c.service.ledgers.tables.GetIfPresent(key)
		if sum := t.find(op.Upstream()); sum != nil {
			return !bytes.Equal(sum, sums.SHA256)
		}
	}
	return false
}

// lookForIndexes reads the latest index of each scope into memory, those that
// were not known before: one that had to make room there is not read again.
func (c *cache) lookForIndexes(ctx context.Context, l formats.Ledger, before latest) {
	list, _, err := c.indexes(ctx)
	known := latest{at: before.at}
	scopes := map[string]bool{}
	for _, n := range list {
		if scopes[n.Scope] {
			continue
		}
		scopes[n.Scope] = true
		d, _, failed := c.service.documentTable().Get(ctx, c.repo.space.Document(n.Scope, n.Path))
		if failed == nil && !d.missing() {
			key := ledgerKey(n, &d)
			if !slices.Contains(before.keys, key) {
				_, failed = c.service.ledgers.of(ctx, c, l, n, &d)
			}
			if failed == nil {
				known.keys = append(known.keys, key)
			}
		}
		if failed != nil && !errors.Is(failed, kv.ErrNotFound) {
			err = cmpOr(err, failed)
		}
	}
	if err != nil {
		c.service.Log.WarnContext(ctx, "look for newer indexes", "repository", c.repo.Name, "error", err)
	}
	c.service.ledgers.latest.Set(c.repo.ID, known)
}
