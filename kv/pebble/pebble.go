// Package pebble is the embedded [kv.Store]: one process, one directory.
//
// Conditional writes of one key exclude each other by a striped lock that is
// held while the write is checked and applied, but not while the log is
// synced: writers that wait for the disk at the same time share one sync.
//
// # What may be seen before it is on disk
//
// An applied write is visible before it is synced. A later write that builds
// on it is safe, since both are in one ordered log. What is only told to a
// caller is not: a caller that is told of a conflict, or that its write was
// already done, or what a consistent Get found, may answer a client on the
// strength of it. These results wait until what they saw is on disk. Other
// reads do not wait.
//
// # Full volumes
//
// Pebble ends the process when it can't write its log. Writes are therefore
// refused with [kv.ErrNoSpace] while the volume still has some MiB free, and a
// reserve file gives Pebble a second chance when something else takes those;
// both together are at most 5 % of the volume. The reserve is given up only
// for the log and the manifest, never for tables, whose writing can wait, and
// it is made again when there is room.
package pebble

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrLocked is returned by Open when the directory is in use.
	ErrLocked = errors.New("data directory is used by another granary process")
	// ErrClosed is returned by the methods of a store that was closed.
	ErrClosed = errors.New("pebble: store is closed")
	// ErrFailed is returned by the methods of a store whose log could not be
	// written, where Options.Fatal has returned.
	ErrFailed = errors.New("pebble: log failed")
	// ErrSchema is returned by Open for data of a release this one can't read.
	ErrSchema = errors.New("pebble: unknown schema")
)

// Options of a store; the zero value is fit for use.
type Options struct {
	// Cache is the size in bytes of the block cache, which also accounts for
	// the memory tables; 0: 16 MiB.
	Cache int64
	// Memtable is the size in bytes of a memory table, of which there are up
	// to three; 0: 4 MiB, less on a small volume.
	Memtable int64
	// Logger gets Pebble's complaints; nil: slog.Default.
	Logger *slog.Logger
	// Now is the clock that expiry goes by; nil: the system's.
	Now func() time.Time
	// Compacted is told of each merge of files that has ended, with its error if
	// it failed and will be tried again. Optional.
	Compacted func(took time.Duration, err error)
	// Fatal is called when the log could not be written and what is stored is
	// no longer known: nothing but a new start helps. Nil: log and exit.
	Fatal func(error)

	fs vfs.FS // nil: the system's; for tests
}

// Store is a [kv.Store] in a directory. Make it with [Open].
type Store struct {
	db     *pebble.DB
	lock   io.Closer
	space  *space
	engine *engine
	now    func() time.Time

	// open is read-locked by every call and locked by Close; closed is its.
	open   sync.RWMutex
	closed bool

	seed    maphash.Seed
	stripes [1024]stripe
	durable atomic.Uint64 // all writes up to this sequence number are on disk
}

var (
	_ kv.Store      = (*Store)(nil)
	_ kv.Traiter    = (*Store)(nil)
	_ kv.LazyPutter = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// Open opens the store in dir, which it makes if need be. ErrLocked means that
// another process, or this one, has it open.
func Open(dir string, o Options) (*Store, error) {
	if o.fs == nil {
		o.fs = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open key-value store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open key-value store: %w", err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, now: o.Now, seed: maphash.MakeSeed()}
	if err := s.start(dir, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open key-value store %s: %w", dir, noSpace(err)), lock.Close())
	}
	return s, nil
}

func (s *Store) start(dir string, o Options) error {
	var err error
	if s.space, err = newSpace(o.fs, dir); err != nil {
		return err
	}
	s.engine = newEngine(o)
	if s.db, err = s.engine.start(dir, s.engine.options(s.space, o)); err != nil {
		return err
	}
	if err := s.checkSchema(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	s.space.refill()
	s.engine.open.Store(true)
	if err := s.engine.failure(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// Close syncs and closes the store once running calls are done.
func (s *Store) Close() error {
	s.open.Lock()
	defer s.open.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.db.Close(), s.lock.Close())
}

// enter begins a call; leave ends it.
func (s *Store) enter() error {
	s.open.RLock()
	err := s.engine.failure()
	if s.closed {
		err = ErrClosed
	}
	if err != nil {
		s.open.RUnlock()
	}
	return err
}

func (s *Store) leave() { s.open.RUnlock() }

// Traits implements [kv.Traiter].
func (s *Store) Traits() kv.Traits {
	return kv.Traits{Inline: 16 << 10, Shards: 16, AlwaysConsistent: true, Embedded: true}
}

// schema is the version of keys.go and record.go. Raise it with a change that
// an earlier release would misread, and have Open convert what it finds.
const schema = "1"

func (s *Store) checkSchema() error {
	found, closer, err := s.db.Get(schemaKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return s.db.Set(schemaKey, []byte(schema), pebble.Sync)
	}
	if err != nil {
		return err
	}
	version := string(found)
	if version != schema {
		err = fmt.Errorf("%w: %q, this release knows %q", ErrSchema, version, schema)
	}
	return cmp.Or(err, closer.Close())
}
