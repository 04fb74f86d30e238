package formats

// Relocator is implemented by formats whose documents name files by paths that
// several members of a group may have with different bytes, in documents of
// their own each.
type Relocator interface {
	// Relocate returns a record as a group lists it whose file lies below dir:
	// documents name it there. A record that names no file is returned as it is.
	// It does no I/O.
	Relocate(rec Record, dir string) Record
}
