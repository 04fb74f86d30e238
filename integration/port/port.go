// Package port finds ports of 127.0.0.1 for servers that are told by name where
// to listen, and are started a moment later.
package port

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// first is the lowest port that is given out.
const first = 10_000

// given are the ports that this process has had.
var given struct {
	mu    sync.Mutex
	ports map[int]bool // guarded by mu
}

// Free returns a port that nobody listens on and that it has not returned before.
// It is none of those that the system gives to whoever asks for any, which are the
// ports of connections and of most tests: a port that was one's own for a moment
// only may be theirs by the time that a server listens there, or is started again.
func Free() (int, error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	end := anybodys()
	for range 1000 {
		p := 0 // where nothing is below those, one of them has to do
		if end > first {
			p = first + rand.IntN(end-first)
		}
		if given.ports[p] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue // somebody has it
		}
		p = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("let a port go: %w", err)
		}
		if given.ports[p] {
			continue
		}
		if given.ports == nil {
			given.ports = map[int]bool{}
		}
		given.ports[p] = true
		return p, nil
	}
	return 0, errors.New("no port of 127.0.0.1 is free")
}

// anybodys is the lowest port that the system gives to whoever asks for any.
func anybodys() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32_768 // RFC 6335 has 49152; Linux is lower, and nothing else has less
	}
	var low, high int
	if _, err := fmt.Sscan(string(b), &low, &high); err != nil {
		return first
	}
	return low
}
