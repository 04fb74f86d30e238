// Package gc collects what nothing needs any more: blobs above all, and on the
// way publications, stamps, directory markers, what is left of deleted
// repositories, and uploads that were given up.
//
// # Rounds
//
// A round is a mark and then a sweep, both in parts that any node may take on
// ([Collector.Part]). The mark reads all that names content and notes it in
// Bloom filters, one for each of 256 prefixes of BLAKE3. The sweep of a prefix
// goes through its references: one that no filter has is condemned; one that was
// condemned by the last round, has not been touched since, and is in no filter
// again is deleted with its blob. Between a round's end and the next one's mark
// lies the grace, as seen by the node that begins the next.
//
// # Why nothing is lost
//
// Who writes a record uses the reference to its content first (package refs),
// which makes a condemned one live again and gives it another version. So content
// that is deleted was needed by nothing at two looks with a grace in between,
// and was used by nobody since the first. Each sentence of this is checked by
// an exhaustive search (package gc/model) and by simulation.
//
// What a round knows lies in the key-value store at g and g/<round>. A part is
// closed by writing its outcome where nothing was, so that of several workers on
// the same part one counts, and a late one changes nothing. Only filters are
// objects in the blob stores ([blob.WorkID]), each store's in itself.
//
// # What it does not do
//
// It takes no lock, and no decision depends on who holds a lease. How long
// history is kept and which artifacts are too old is decided elsewhere: a mark
// counts all the history that exists.
package gc
