// Package repo is what granary does once for every format: it answers requests
// from records, whatever kind of repository they come from.
//
// A repository answers through a view. A hosted repository's records are the
// stored ones. A cache's are parsed from its upstream's documents, and its
// files are filled on demand. A group's are an ordered merge of its members'
// records: records are merged, never documents. A format renders and parses
// records and does not know which view it serves.
//
// # Order of writes
//
// Everything is written after what it points to: bytes, reference, history,
// record, directory markers, stamp, counters. A crash between any two of them
// leaves nothing visible that is not whole, and a client that repeats its
// request completes it.
//
// # Documents
//
// What is rendered from more than one record is a publication of a scope. Its
// key is the digest of the stamps that it was made from, so that it is never
// stale and never invalidated: another stamp is another key.
//
// The stored forms are in repo/record (records, history, markers, stamps),
// repo/refs (references to blobs) and repo/config (repositories, stores,
// settings); repo/upstream speaks HTTP to upstreams.
package repo
