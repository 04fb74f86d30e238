package gc_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo/record"
	"granary/repo/upstream"
)

const simUpstreamURL = "http://upstream.example/"

// simUpstream is a server that a cache asks. It is often in trouble.
type simUpstream struct {
	w    *world
	work sync.WaitGroup // connections
	mu   sync.Mutex
	ever map[string][]int // by path: the contents it has had, the last now; guarded by mu
}

func newSimUpstream(w *world) *simUpstream {
	u := &simUpstream{w: w, ever: map[string][]int{}}
	for k := range 3 {
		u.ever[mirrored(k)] = []int{theirs + k}
	}
	return u
}

func mirrored(k int) string { return fmt.Sprintf("m/%d", k) }

// client is one whose connections are pipes.
func (u *simUpstream) client() *upstream.Client {
	address := netip.MustParseAddr("192.0.2.1")
	return upstream.New(upstream.Config{
		Allow:   []netip.Prefix{netip.PrefixFrom(address, 32)},
		Now:     time.Now,
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{address}, nil },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			u.work.Go(func() { u.serve(there) })
			return here, nil
		},
	})
}

func (u *simUpstream) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := c.Write(u.answer(req)); err != nil {
			return
		}
	}
}

// answer is an answer, or what there is of one.
func (u *simUpstream) answer(req *http.Request) []byte {
	u.mu.Lock()
	had := u.ever[req.URL.Path[1:]]
	u.mu.Unlock()
	trouble := u.w.roll(24)
	u.w.mu.Lock()
	if u.w.calm {
		trouble = 100
	}
	u.w.mu.Unlock()
	time.Sleep(u.w.wait())
	if len(had) == 0 || trouble == 0 {
		return []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	}
	now := had[len(had)-1]
	tag := fmt.Sprintf(`"%d"`, now)
	if req.Header.Get("If-None-Match") == tag {
		return []byte("HTTP/1.1 304 Not Modified\r\nETag: " + tag + "\r\n\r\n")
	}
	body := content(now)
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: %d\r\n\r\n", tag, len(body))
	switch trouble {
	case 1: // and nothing follows until the client has had enough
		out.Write(body[:len(body)/2])
		return out.Bytes()
	case 2:
		time.Sleep(20 * time.Second)
	}
	out.Write(body)
	return out.Bytes()
}

// change gives the upstream other content, or destroys a cache's copy, or the
// reference to it: neither may ever happen.
func (u *simUpstream) change(ctx context.Context, n *node) {
	path := mirrored(n.roll(3))
	if n.roll(2) == 0 {
		u.mu.Lock()
		u.ever[path] = append(u.ever[path], theirs+n.roll(8))
		u.mu.Unlock()
		n.count("upstream changed")
		return
	}
	c := n.repos[simMirror]
	rec, _, err := n.records.Get(ctx, kv.Space{Repo: c.ID, Shards: c.Shards}, "m", path[2:], record.Latest)
	if err != nil || rec.Blob == "" {
		return
	}
	hash := hex.EncodeToString(rec.Sums.BLAKE3)
	n.locked(func() { n.rotten[hash] = true })
	if n.roll(2) == 0 {
		n.stores["default"].memory.Delete(ctx, rec.Blob) //nolint:errcheck // may be gone already
		n.count("blob destroyed")
		return
	}
	key := kv.Reference(rec.Store, hash)
	if item, err := n.mem.Get(ctx, key, kv.Consistent); err == nil {
		n.mem.DeleteIf(ctx, key, item.Version) //nolint:errcheck // as above
		n.count("reference destroyed")
	}
}

// readMirror reads through the cache: what comes is whole, and what the upstream
// has had.
func (n *node) readMirror(ctx context.Context) {
	path := mirrored(n.roll(3))
	got, err := n.send(ctx, simMirror, "", path, http.MethodGet, nil)
	if err == nil {
		n.upstream.mu.Lock()
		had := slices.Clone(n.upstream.ever[path])
		n.upstream.mu.Unlock()
		n.count("fill")
		if !slices.ContainsFunc(had, func(c int) bool { return bytes.Equal(got, content(c)) }) {
			n.fail("the cache has %q of %s, which was %v", got, path, had)
		}
		return
	}
	if errors.Is(err, formats.ErrNotFound) {
		n.fail("the cache says of %s, which is there: %v", path, err)
	}
	if errors.Is(err, formats.ErrCorrupt) {
		rotten := 0
		n.locked(func() { rotten = len(n.rotten) })
		if rotten == 0 {
			n.fail("the cache's %s: %v", path, err)
		}
	}
}
