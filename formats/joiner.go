package formats

// Joiner is implemented by formats of which an upload writes records on
// conditions of what is there ([Tx].PutIf), such as that a name is free. Promotion
// copies records of another repository, and keeps to the same.
type Joiner interface {
	// Join returns what a record of another repository becomes where old is, nil for
	// nothing: the record itself; one with another Meta, without what is that
	// repository's own; or old, which stays. An error is what an upload would be
	// refused with, ErrExists where that is for good. It is called more than once
	// and does no I/O.
	Join(rec Record, old *Record) (Record, error)
}
