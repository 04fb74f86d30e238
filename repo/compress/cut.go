package compress

const (
	// shortest and longest are the lengths of pieces in bytes, the last one of a
	// document apart. Between them one ends where the hash of the 64 bytes before
	// says so, after another 64 KiB in the mean.
	shortest = 64 << 10
	longest  = 256 << 10
	// window is how many bytes the hash is of: each is shifted out after so many.
	window = 64
	// mask has 16 bits of the upper half, which depend on the most bytes.
	mask = 0xffff << 40
)

// gear is a random number for each byte value. It never changes: it decides
// where pieces end.
var gear = func() (t [256]uint64) {
	x := uint64(0x6772616e617279) // "granary"
	for i := range t {            // SplitMix64
		x += 0x9e3779b97f4a7c15
		z := x
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t[i] = z ^ z>>31
	}
	return t
}()

// cutter finds where pieces end, by what they hold: the same bytes are cut alike
// wherever they stand, after the first cut.
type cutter struct {
	n    int // bytes of the piece so far
	hash uint64
}

// next returns how many of the bytes b belong to the piece, and whether it ends
// with them.
func (c *cutter) next(b []byte) (n int, whole bool) {
	// The hash needs no bytes before its last window.
	if skip := shortest - window - c.n; skip > 0 {
		n = min(skip, len(b))
	}
	most := min(len(b), longest-c.n)
	for ; n < most; n++ {
		c.hash = c.hash<<1 + gear[b[n]]
		if c.hash&mask == 0 && c.n+n+1 >= shortest {
			*c = cutter{}
			return n + 1, true
		}
	}
	if c.n += n; c.n == longest {
		*c = cutter{}
		return n, true
	}
	return n, false
}
