package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// A cache keeps a list of the indexes that it has passed on ([formats.Ledger]).
// It is an item beside its documents, newest first; which bytes an index has is
// said by its document.
const (
	ledgerScope = ":ledger"
	ledgerPath  = "indexes"
	ledgerMost  = 64 // indexes remembered
)

// notedIndexes is the list.
type notedIndexes struct {
	kv.Extra `cbor:"-"`
	List     []noted `cbor:"1,keyasint"`
}

// noted is an index that was passed on.
type noted struct {
	Scope string `cbor:"1,keyasint"`
	Path  string `cbor:"2,keyasint"`
}

// enter notes that a document is an index, or may be. It is done whenever the
// document is fetched, so that one that a crash has left out is noted with its
// next state.
func (c *cache) enter(ctx context.Context, scope, path string) error {
	l, ok := c.repo.format.(formats.Ledger)
	if !ok || !l.Index(scope, path) {
		return nil
	}
	table, key := c.service.documentTable(), c.repo.space.Document(ledgerScope, ledgerPath)
	for {
		list, version, err := c.indexes(ctx, kv.Consistent)
		if err != nil {
			return err
		}
		now := noted{scope, path}
		if len(list) > 0 && list[0] == now {
			return nil
		}
		list = slices.DeleteFunc(list, func(n noted) bool { return n == now })
		list = append([]noted{now}, list[:min(len(list), ledgerMost-1)]...)
		data, err := kv.Marshal(notedIndexes{List: list})
		if err != nil {
			return err
		}
		_, err = table.Replace(ctx, key, document{Status: http.StatusOK, Inline: data}, version)
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}

// indexes returns the list, empty if there is none.
func (c *cache) indexes(ctx context.Context, o ...kv.ReadOption) ([]noted, kv.Version, error) {
	d, version, err := c.service.documentTable().Get(ctx, c.repo.space.Document(ledgerScope, ledgerPath), o...)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the indexes of %s: %w", c.repo.Name, err)
	}
	var list notedIndexes
	if err := kv.Unmarshal(d.Inline, &list); err != nil {
		return nil, "", fmt.Errorf("read the indexes of %s: %w", c.repo.Name, err)
	}
	return list.List, version, nil
}

// entered returns what the indexes that were passed on promise of a file, the
// latest first; nothing if none names it.
func (c *cache) entered(ctx context.Context, l formats.Ledger, op formats.Op) (digest.Sums, error) {
	list, _, err := c.indexes(ctx)
	if err != nil {
		return op.Sum, err
	}
	for _, n := range list {
		d, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(n.Scope, n.Path))
		if errors.Is(err, kv.ErrNotFound) || err == nil && d.missing() {
			continue
		}
		if err != nil {
			return op.Sum, fmt.Errorf("read document %s/%s: %w", c.repo.Name, n.Path, err)
		}
		t, err := c.service.ledgers.of(ctx, c, l, n, &d)
		if err != nil {
			// It is not what it says it is, or its bytes are gone. Clients find out.
			c.service.Log.WarnContext(ctx, "read an index", "repository", c.repo.Name, "path", n.Path, "error", err)
			continue
		}
		if sum := t.find(op.Upstream()); sum != nil {
			sums := op.Sum
			sums.SHA256 = sum
			return sums, nil
		}
	}
	return op.Sum, nil
}

// ledgers are indexes in memory, by their scope and content.
type ledgers struct {
	tables *otter.Cache[string, ledger]
	making *singleflight.Group
	latest *otter.Cache[string, latest] // by repository
}

// ledgerBytes is how much memory they take together; an archive with 60,000
// packages takes 2.4 MB.
const ledgerBytes = 16 << 20

// maxLatest is of how many caches it is known which their latest indexes are.
const maxLatest = 10_000

func newLedgers() ledgers {
	return ledgers{making: &singleflight.Group{}, latest: otter.Must(&otter.Options[string, latest]{MaximumSize: maxLatest}), tables: otter.Must(&otter.Options[string, ledger]{
		MaximumWeight: ledgerBytes,
		Weigher:       func(_ string, l ledger) uint32 { return uint32(len(l)*entrySize + 64) }, //nolint:gosec // bounded by maxEntries
	})}
}

// ledgerKey is that of an index as it is now.
func ledgerKey(n noted, d *document) string { return n.Scope + " " + string(d.Sums.BLAKE3) }

// of reads an index once.
func (l ledgers) of(ctx context.Context, c *cache, format formats.Ledger, n noted, d *document) (ledger, error) {
	key := ledgerKey(n, d)
	if t, ok := l.tables.GetIfPresent(key); ok {
		return t, nil
	}
	v, err, _ := l.making.Do(key, func() (any, error) {
		r, err := c.opener(n.Scope, n.Path, d, exactly(d))(ctx, 0, -1)
		if err != nil {
			return nil, err
		}
		defer r.Close() //nolint:errcheck // only read
		var t ledger
		for e, err := range format.Promises(n.Scope, r) {
			if err != nil {
				return nil, err
			}
			if len(t) == maxEntries {
				return nil, fmt.Errorf("%w: an index of more than %d files", formats.ErrUpstream, maxEntries)
			}
			t = append(t, newPromise(e))
		}
		slices.SortFunc(t, func(a, b promise) int { return bytes.Compare(a[:], b[:]) })
		l.tables.Set(key, t)
		return t, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(ledger), nil
}

const (
	maxEntries = 400_000
	nameSize   = 8
	entrySize  = nameSize + sha256.Size
)

// promise is the beginning of the SHA-256 of a path, then the SHA-256 that the
// file has.
type promise [entrySize]byte

func newPromise(e formats.Promise) promise {
	var out promise
	name := sha256.Sum256([]byte(e.Path))
	copy(out[:nameSize], name[:])
	copy(out[nameSize:], e.SHA256)
	return out
}

// ledger is what an index promises, in order.
type ledger []promise

func (l ledger) find(path string) []byte {
	name := sha256.Sum256([]byte(path))
	i, ok := slices.BinarySearchFunc(l, name[:nameSize], func(e promise, n []byte) int { return bytes.Compare(e[:nameSize], n) })
	if !ok {
		return nil
	}
	return slices.Clone(l[i][nameSize:])
}
