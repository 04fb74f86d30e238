package gc

// Tally counts what a part, or a whole round, has done.
type Tally struct {
	Records      int64 `cbor:"1,keyasint,omitempty"`  // records that hold now
	History      int64 `cbor:"2,keyasint,omitempty"`  // entries of history
	Index        int64 `cbor:"3,keyasint,omitempty"`  // stamps, publications, documents
	Uploads      int64 `cbor:"4,keyasint,omitempty"`  // items of upload sessions
	References   int64 `cbor:"5,keyasint,omitempty"`  // gone through by the sweep
	Objects      int64 `cbor:"6,keyasint,omitempty"`  // listed by the bucket pass
	Condemned    int64 `cbor:"7,keyasint,omitempty"`  // references that nothing needed
	Acquitted    int64 `cbor:"8,keyasint,omitempty"`  // condemned ones that something needs
	Waiting      int64 `cbor:"9,keyasint,omitempty"`  // left condemned for the next round to judge
	Deleted      int64 `cbor:"10,keyasint,omitempty"` // references deleted with their blobs
	DeletedBytes int64 `cbor:"11,keyasint,omitempty"`
	Orphans      int64 `cbor:"12,keyasint,omitempty"` // objects without a reference that were deleted
	OrphanBytes  int64 `cbor:"13,keyasint,omitempty"`
	Candidates   int64 `cbor:"14,keyasint,omitempty"` // such objects left for the next look
	Publications int64 `cbor:"15,keyasint,omitempty"` // removed
	Stamps       int64 `cbor:"16,keyasint,omitempty"` // removed
	Markers      int64 `cbor:"17,keyasint,omitempty"` // removed
	Drained      int64 `cbor:"18,keyasint,omitempty"` // deleted repositories that items were removed of
	DrainedItems int64 `cbor:"19,keyasint,omitempty"`
	Sessions     int64 `cbor:"20,keyasint,omitempty"` // upload sessions and multipart uploads ended
	Repaired     int64 `cbor:"21,keyasint,omitempty"` // repositories whose counters were wrong
	Failures     int64 `cbor:"22,keyasint,omitempty"` // blobs that could not be deleted now
}

func (t *Tally) add(o Tally) {
	t.Records += o.Records
	t.History += o.History
	t.Index += o.Index
	t.Uploads += o.Uploads
	t.References += o.References
	t.Objects += o.Objects
	t.Condemned += o.Condemned
	t.Acquitted += o.Acquitted
	t.Waiting += o.Waiting
	t.Deleted += o.Deleted
	t.DeletedBytes += o.DeletedBytes
	t.Orphans += o.Orphans
	t.OrphanBytes += o.OrphanBytes
	t.Candidates += o.Candidates
	t.Publications += o.Publications
	t.Stamps += o.Stamps
	t.Markers += o.Markers
	t.Drained += o.Drained
	t.DrainedItems += o.DrainedItems
	t.Sessions += o.Sessions
	t.Repaired += o.Repaired
	t.Failures += o.Failures
}

// Read is how many items and objects were read.
func (t Tally) Read() int64 {
	return t.Records + t.History + t.Index + t.Uploads + t.References + t.Objects
}

// Result is what a round has come to.
type Result struct {
	Tally Tally `cbor:"1,keyasint"`
	// Rate is the greatest false-positive rate that a filter had.
	Rate    float64 `cbor:"2,keyasint,omitempty"`
	Elapsed int64   `cbor:"3,keyasint,omitempty"` // nanoseconds from the begin of the mark
	Dry     bool    `cbor:"4,keyasint,omitempty"`
}
