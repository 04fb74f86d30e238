package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// engine is how Pebble is set up, and what it complains of.
type engine struct {
	log   *slog.Logger
	now   func() time.Time
	fatal func(error)
	lost  atomic.Pointer[error] // set when the log could not be written
	open  atomic.Bool           // until then Open returns what fails

	mu         sync.Mutex
	complained time.Time // mu guards it: background errors may come by the thousand
}

func newEngine(o Options) *engine {
	e := &engine{log: o.Logger, now: o.Now, fatal: o.Fatal}
	if e.log == nil {
		e.log = slog.Default()
	}
	if e.fatal == nil {
		e.fatal = func(err error) {
			e.log.Error("key-value store can't write its log, ending the process", "error", err.Error())
			os.Exit(1)
		}
	}
	return e
}

// formatVersion of Pebble's files: the newest of its release 2.1. A store is
// converted when it is opened and can't be opened by earlier releases then.
const formatVersion = pebble.FormatValueSeparation

const (
	defaultCache    = 16 << 20
	defaultMemtable = 4 << 20
	openFiles       = 256
	maxManifest     = 8 << 20
)

func (e *engine) options(space *space, o Options) *pebble.Options {
	cache, memtable := o.Cache, o.Memtable
	if cache <= 0 {
		cache = defaultCache
	}
	if memtable <= 0 {
		memtable = space.memtable()
	}
	options := &pebble.Options{
		FS:                          space.fs(),
		FormatMajorVersion:          formatVersion,
		CacheSize:                   cache,
		MemTableSize:                uint64(memtable),
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                openFiles,
		MaxManifestFileSize:         maxManifest,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       32,
		Logger:                      e,
		EventListener: &pebble.EventListener{
			BackgroundError: e.background,
			CompactionEnd: func(info pebble.CompactionInfo) {
				if o.Compacted != nil {
					o.Compacted(info.TotalDuration, info.Err)
				}
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				e.log.Error("key-value store met corrupt data", "error", info.Details.Error(), "path", info.Path)
			},
		},
	}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return options
}

// start opens the database. What Pebble takes for the end of the world is only
// an error as long as nothing was acknowledged.
func (e *engine) start(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
			if failed, ok := p.(error); ok {
				err = failed
			}
		}
	}()
	return pebble.Open(dir, o)
}

// Infof implements pebble.Logger.
func (e *engine) Infof(format string, args ...any) {
	if e.log.Enabled(context.Background(), slog.LevelDebug) {
		e.log.Debug(fmt.Sprintf("pebble: "+format, args...))
	}
}

// Errorf implements pebble.Logger.
func (e *engine) Errorf(format string, args ...any) {
	e.log.Error(fmt.Sprintf("pebble: "+format, args...))
}

// Fatalf implements pebble.Logger. Pebble does not expect it to return.
func (e *engine) Fatalf(format string, args ...any) {
	panic(e.fail(fmt.Errorf(format, args...)))
}

// background hears of a flush or compaction that failed and is tried again.
func (e *engine) background(err error) {
	e.mu.Lock()
	quiet := e.now().Sub(e.complained) < time.Second
	if !quiet {
		e.complained = e.now()
	}
	e.mu.Unlock()
	if !quiet {
		e.log.Warn("key-value store could not tidy up, will try again", "error", err.Error())
	}
}

// fail says that the log is broken: what was not acknowledged may be there or
// not, and nothing more can be written.
func (e *engine) fail(err error) error {
	err = fmt.Errorf("%w: %w: %w", kv.ErrUnknown, ErrFailed, err)
	if e.lost.CompareAndSwap(nil, &err) && e.open.Load() {
		e.fatal(err)
	}
	return err
}

// failure is why the store is of no use any more, or nil.
func (e *engine) failure() error {
	if err := e.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// noSpace marks errors of a full volume as what callers know.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", kv.ErrNoSpace, err)
	}
	return err
}
