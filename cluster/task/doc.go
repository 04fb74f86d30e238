// Package task runs work that nodes share: garbage collection, audits, clones,
// bulk deletes. It sees to it that the work is done once, goes on when a node
// dies, and can be watched and cancelled from any node.
//
// # Records
//
// A task that is not over lies at k/open under its slot, so that one write
// decides who starts it; a slot is its kind, or what the kind says by
// [Slotter]. Its shards lie at k/<task id>. When it is over it is written to
// k/done first and removed from k/open then; whoever finds it in both places
// removes it from k/open.
//
// # Claims
//
// A node claims a shard by compare-and-swap on the shard's record, and each
// [Work.Save] is one too. So a holder that was paused and succeeded learns it
// from its next write, which changes nothing. A claim is over when its node is
// dead or gone in the eyes of package cluster, never by a clock in the record.
// A claim's epoch grows with each claim of the shard.
//
// The making of the plan and the finishing are claimed alike, on the task's
// own record. A plan's shards lie under its claim's epoch; those of a plan that
// lost count for nothing.
//
// # What a kind must bear
//
// Between a pause and the next Save two holders of a shard may be at work, and
// whatever followed the last Save is done again. So what a shard does is
// conditional or may be repeated, and a cursor is saved after what it stands
// for. Finish may run more than once.
package task
