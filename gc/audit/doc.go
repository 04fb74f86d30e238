// Package audit checks that what is stored is there and is what it was: the
// task check, which all nodes share.
//
// # Two passes
//
// The first goes through the references to content, store by store: is the
// blob there, has it the right size, and, if asked for, the right bytes. What
// is wrong is quarantined at once, dry run or not: its reference becomes lost,
// so that nobody is served it and the next upload of that content heals it. A
// blob that is wrong and still there makes its store suspect, and so does one that
// is gone but named: from then on whoever reads or looks there asks the reference
// first, which costs a read, until an audit finds no such blob any more. Bytes that somebody has put back are found
// right by the next audit that reads them, and served again.
// The second goes through the records and finds out whose content is lost, or
// has no reference; content kept in a record is checked with it. With dry_run
// off it removes such records: a cache then fetches anew, and a hosted artifact
// can be uploaded again.
//
// # Beside others
//
// An audit takes no lock. A blob that is found wrong is only quarantined while
// its reference still names it, and a record is only reported and removed while
// it is still what was read. What the collector is deleting is not looked at.
package audit
