package fs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"
)

const (
	// maxOpen is how many folders stay open while nobody uses them. Ids of one
	// [blob.Source] need one at a time.
	maxOpen = 64
	// maxDurable is how many folders are remembered to be durable.
	maxDurable = 1 << 14
)

// directories makes folders durable, once, and shares them open.
type directories struct {
	root *os.Root
	sync bool

	mu      sync.Mutex // guards what follows
	open    map[string]*directory
	durable map[string]bool // folders whose names are on the disk
}

// directory is an open folder. refs is guarded by directories.mu.
type directory struct {
	path string
	refs int

	ready sync.Once // opens it
	f     *os.File
	err   error

	syncing sync.Mutex // held by who syncs
	mu      sync.Mutex // guards next
	next    *round     // the sync that is to begin, nil if nobody waits for one
}

// round is one fsync for all who asked before it began. Its fields are guarded
// by directory.syncing.
type round struct {
	done bool
	err  error
}

func newDirectories(root *os.Root, sync bool) *directories {
	return &directories{root: root, sync: sync, open: map[string]*directory{}, durable: map[string]bool{}}
}

// acquire opens a folder under the root, and makes it if it is missing.
func (ds *directories) acquire(name string) (*directory, error) {
	ds.mu.Lock()
	d := ds.open[name]
	if d == nil {
		d = &directory{path: name}
		ds.open[name] = d
	}
	d.refs++
	ds.mu.Unlock()
	d.ready.Do(func() { d.f, d.err = ds.ensure(name) })
	if d.err != nil {
		ds.forget(d)
		return nil, errors.Join(d.err, ds.release(d))
	}
	return d, nil
}

// ensure opens a folder that exists and, with its parents, is durable.
func (ds *directories) ensure(name string) (*os.File, error) {
	f, err := ds.root.Open(name)
	ds.mu.Lock()
	known := ds.durable[name]
	ds.mu.Unlock()
	if name == "." || err == nil && (known || !ds.sync) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	// It is missing, or another process may have made it just now.
	if perr := ds.makeDurable(name, err != nil); perr != nil {
		if f != nil {
			perr = errors.Join(perr, f.Close())
		}
		return nil, perr
	}
	if f != nil {
		return f, nil
	}
	return ds.root.Open(name)
}

func (ds *directories) makeDurable(name string, missing bool) error {
	parent, err := ds.acquire(path.Dir(name))
	if err != nil {
		return err
	}
	if missing {
		if err = ds.root.Mkdir(name, 0o755); errors.Is(err, fs.ErrExist) {
			err = nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			ds.forget(parent) // somebody removed it since it was opened
		}
	}
	if err == nil {
		err = ds.syncDir(parent)
	}
	if err = errors.Join(err, ds.release(parent)); err != nil {
		return err
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if len(ds.durable) >= maxDurable {
		clear(ds.durable)
	}
	ds.durable[name] = true
	return nil
}

// release ends the use of a folder.
func (ds *directories) release(d *directory) error {
	ds.mu.Lock()
	d.refs--
	last := d.refs == 0 && (len(ds.open) > maxOpen || ds.open[d.path] != d)
	if last && ds.open[d.path] == d {
		delete(ds.open, d.path)
	}
	ds.mu.Unlock()
	if last && d.f != nil {
		return d.f.Close()
	}
	return nil
}

// forget makes the next acquire open the folder anew.
func (ds *directories) forget(d *directory) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.open[d.path] == d {
		delete(ds.open, d.path)
	}
	delete(ds.durable, d.path)
}

// syncDir makes the names in a folder durable. Calls that come while one runs
// share the next.
func (ds *directories) syncDir(d *directory) error {
	if !ds.sync {
		return nil
	}
	d.mu.Lock()
	if d.next == nil {
		d.next = &round{}
	}
	r := d.next
	d.mu.Unlock()

	d.syncing.Lock()
	defer d.syncing.Unlock()
	if r.done {
		return r.err
	}
	d.mu.Lock()
	d.next = nil // who comes from here on has changed the folder too late
	d.mu.Unlock()
	r.err, r.done = d.f.Sync(), true
	return r.err
}

func (ds *directories) close() error {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	var errs []error
	for _, d := range ds.open {
		if d.f != nil {
			errs = append(errs, d.f.Close())
		}
	}
	clear(ds.open)
	return errors.Join(errs...)
}
