package main

import "runtime"

// headroom is address space that is allocated and never touched: it takes no
// memory, but lets the collector run when the heap has grown by that much
// instead of doubling a heap of a few MiB some hundred times a second.
const headroom = 40 << 20

// reserveHeadroom returns what gives the headroom back.
func reserveHeadroom() (release func()) {
	ballast := make([]byte, headroom)
	// Where the heap had pages in use above, the runtime has just written zeros.
	dropPages(ballast)
	return func() { runtime.KeepAlive(ballast) }
}
