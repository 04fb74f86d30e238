// Package record keeps what a repository holds: records, the history of what
// they replaced, directory markers with their counters, stamps of scopes, and
// last accesses. It knows nothing of formats, users or upstreams, and asks no
// more of the key-value store than single keys.
//
// # Records
//
// A record is written without a look at first ([Store.Put]): a new path costs
// one write. Where one is there already it is first copied to history, under
// the time since which it held, and then swapped; a removal swaps in a
// tombstone. The time since which a record holds grows per key, so that the
// state as of any time is the greatest since that is not later.
//
// # Directories
//
// A directory exists because of the records below it. The marker in its parent
// makes it show up in listings and counts what is below. Markers are written
// before the call that made them necessary is answered ([Store.EnsureMarkers]);
// their counters follow within about a second, and a directory whose counter
// says that it is empty is looked into before it is hidden. Records with
// slashes in their names need no markers for the directories within: these are
// derived from the names, for which a listing is told the scope ([InScope]).
//
// # Background work
//
// [Store.Run] writes counters and last accesses; [Store.Close] writes what is
// left. Everything that is held in memory is bounded: what would exceed a
// bound is dropped and counted ([Store.Stats]).
package record
