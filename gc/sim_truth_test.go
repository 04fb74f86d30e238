package gc_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// gone is the content of a path that holds nothing.
const gone = -1

// truth is what is known of a path that one client alone changes: what that
// wrote last, and what it could not be told the outcome of.
type truth struct {
	repo, path string
	may        map[int]bool // contents that it may hold; guarded by the world's mu
	log        []string     // what happened to it, of late; guarded as may
}

// sharedTruth is what is known of a path that all clients change. It holds
// always the same content, or nothing.
type sharedTruth struct {
	repo, path string
	begun      int  // deletes that were begun; guarded by the world's mu
	sure       bool // an upload was acknowledged that no delete overlapped; guarded as begun
}

// watch collects what the paths of a repository may hold at some time of a
// span, such as that in which a snapshot is taken.
type watch struct {
	repo string
	open bool
	may  map[string]map[int]bool // by path
}

const (
	phases     = 4
	together   = 100 // the content of shared paths
	theirs     = 200 // the first content of the upstream
	simPaths   = 2   // of a client in a repository
	sharedOnes = 2
)

// content number n; all are longer than what is kept in a record.
func content(n int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("content %d ", n)), 4) }

// own is path k of a client.
func (w *world) own(client int, repository string, k int) *truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ownLocked(repository, fmt.Sprintf("n%d/f%d", client, k))
}

// entry is entry k of a client in the ledger, where all write to one scope.
func (w *world) entry(client, k int) *truth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ownLocked(simLedger, fmt.Sprintf("all/n%d-%d", client, k))
}

func (w *world) ownLocked(repository, path string) *truth {
	tr := w.truth[repository+"/"+path]
	if tr == nil {
		tr = &truth{repo: repository, path: path, may: map[int]bool{gone: true}}
		w.truth[repository+"/"+path] = tr
		for _, x := range w.watches {
			x.note(tr, gone)
		}
	}
	return tr
}

func (w *world) common(k int) *sharedTruth {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprintf("shared/%d", k)
	tr := w.shared[name]
	if tr == nil {
		tr = &sharedTruth{repo: []string{simFirst, simSecond}[k%2], path: name}
		w.shared[name] = tr
	}
	return tr
}

// logf tells of what happened to a path, for whoever wonders about the
// next failure; the world's mu is held.
func (tr *truth) logf(w *world, format string, args ...any) {
	if len(tr.log) > 40 {
		tr.log = tr.log[20:]
	}
	tr.log = append(tr.log, fmt.Sprintf("%v ", time.Since(w.begin).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// maybe says that a path may come to hold a content from now on.
func (w *world) maybe(tr *truth, contents ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range contents {
		tr.may[c] = true
		for _, x := range w.watches {
			x.note(tr, c)
		}
	}
	tr.logf(w, "maybe %v", contents)
}

// surely says that a path holds one of some contents.
func (w *world) surely(tr *truth, contents ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tr.may = map[int]bool{}
	tr.logf(w, "surely %v", contents)
	for _, c := range contents {
		tr.may[c] = true
		for _, x := range w.watches {
			x.note(tr, c)
		}
	}
}

// possible lists what a path may hold.
func (w *world) possible(tr *truth) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(tr.may))
}

func (x *watch) note(tr *truth, c int) {
	if !x.open || tr.repo != x.repo {
		return
	}
	if x.may[tr.path] == nil {
		x.may[tr.path] = map[int]bool{}
	}
	x.may[tr.path][c] = true
}

// watch begins to note what the paths of a repository may hold.
func (w *world) watch(repository string) *watch {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := &watch{repo: repository, open: true, may: map[string]map[int]bool{}}
	for _, tr := range w.truth {
		if tr.repo == repository {
			x.may[tr.path] = maps.Clone(tr.may)
		}
	}
	w.watches = append(w.watches, x)
	return x
}

// unwatch ends it: what is written from now on is not what was there.
func (w *world) unwatch(x *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.open = false
	kept := w.watches[:0]
	for _, o := range w.watches {
		if o != x {
			kept = append(kept, o)
		}
	}
	w.watches = kept
}

// held tells whether what was read is one of some contents; absent: nothing was.
func held(may map[int]bool, got []byte, absent bool) bool {
	for c := range may {
		if c == gone && absent || c != gone && !absent && bytes.Equal(got, content(c)) {
			return true
		}
	}
	return false
}
