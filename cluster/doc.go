// Package cluster makes nodes that share a key-value store know of each other.
// No node ever talks to another: all that they have in common is written.
//
// # Nodes
//
// [Join] registers a node under a random id and keeps its record fresh: a
// beat. A node whose record has not changed for [Config] Dead, by the
// observer's own monotonic clock and consistent reads, is dead; wall clocks are
// never compared for that. A beat is a compare-and-swap on the node's own
// record: if somebody else has written there the process has a twin (a resumed
// or copied machine) or was taken for dead, and goes on under a new id without
// its leases.
//
// # Configuration
//
// One item, the epoch, changes with every change of configuration. Each node
// polls it, reads it before it loads and remembers it after, and shows in its
// record what it has loaded. [Node.Changed] writes a new epoch and waits until
// each live node shows it. A node that can't keep up says so by [Node.Ready]
// before the wait ends, so that afterwards nobody serves the old state.
//
// # Leases
//
// A lease is a name that one node holds at a time, as an optimisation for
// work, never as the only thing between us and lost data: a holder that is
// paused doesn't know that it was succeeded. Its epoch grows with each holder,
// travels in what the work writes, and so tells a late one apart.
//
// # Clocks
//
// History is ordered by wall clocks, so a node also compares its own with its
// peers' beats and refuses writes ([Node.WriteReady]) when they differ by more
// than half a second.
package cluster
