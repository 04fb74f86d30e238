package port

import (
	"net"
	"strconv"
	"testing"
)

func TestFree(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		p, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		if seen[p] {
			t.Fatalf("port %d was given twice", p)
		}
		seen[p] = true
		if low := anybodys(); low > first && (p < first || p >= low) {
			t.Fatalf("port %d, want one of %d to %d", p, first, low-1)
		}
	}
}

// A port that somebody listens on is nobody else's.
func TestFreeLeavesOut(t *testing.T) {
	p, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	given.mu.Lock()
	delete(given.ports, p) // as in another process
	given.mu.Unlock()
	for range 200 {
		if other, err := Free(); err != nil || other == p {
			t.Fatalf("port %d (%v), where somebody listens", other, err)
		}
	}
}
