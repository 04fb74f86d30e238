package blob

// Left is what a budget has not given out.
func Left(b *Budget) int64 { return b.left.Load() }
