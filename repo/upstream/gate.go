package upstream

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxFailures = 10              // in a row, after which a host is left alone
	restFor     = time.Second     // until one request may try again
	maxPause    = 5 * time.Minute // of what Retry-After says
	maxHosts    = 4096            // with failures that are remembered
)

// gate keeps requests from hosts that fail, and from those that said when to
// come back. A host is remembered only while there is something to remember.
type gate struct {
	now func() time.Time

	mu    sync.Mutex // protects hosts
	hosts map[origin]*host
}

type host struct {
	failures int       // in a row
	open     time.Time // asked by nobody until then; zero: closed
	probing  bool      // one request is on its way to see
	paused   time.Time // the host wants no requests until then
	status   int       // with which it said so
}

func newGate(now func() time.Time) *gate {
	return &gate{now: now, hosts: map[origin]*host{}}
}

// pass is leave to ask a host. Its outcome is told by the methods below; end
// must be called last.
type pass struct {
	gate  *gate
	to    origin
	probe bool
}

// closed says that a host is not to be asked, and for how long.
type closed struct {
	wait   time.Duration
	status int // of the answer that asked for it, 0: too many failures
}

// enter returns a pass, or why there is none.
func (g *gate) enter(to origin) (*pass, *closed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.hosts[to]
	if h == nil {
		return &pass{gate: g, to: to}, nil
	}
	now := g.now()
	if wait := h.paused.Sub(now); wait > 0 {
		return nil, &closed{wait, h.status}
	}
	if h.open.IsZero() {
		return &pass{gate: g, to: to}, nil
	}
	if wait := h.open.Sub(now); wait > 0 {
		return nil, &closed{min(wait, restFor), 0}
	}
	if h.probing {
		return nil, &closed{restFor, 0}
	}
	h.probing = true
	return &pass{gate: g, to: to, probe: true}, nil
}

// begun: the host answers, what is left is the body. It closes what was open,
// but does not end a row of failures: the body may be one more.
func (p *pass) begun() {
	p.change(func(h *host, _ time.Time) {
		if !h.open.IsZero() {
			h.failures, h.open, h.probing = 0, time.Time{}, false
		}
	})
	p.probe = false
}

// good: the host did what it should, if only to say that there is nothing.
func (p *pass) good() {
	p.change(func(h *host, _ time.Time) { h.failures, h.open, h.probing = 0, time.Time{}, false })
	p.probe = false
}

// bad: the host failed.
func (p *pass) bad() {
	probe := p.probe
	p.change(func(h *host, now time.Time) {
		h.failures = min(h.failures+1, maxFailures)
		if probe || h.failures == maxFailures && h.open.IsZero() {
			h.open, h.probing = now.Add(restFor), false
		}
	})
	p.probe = false
}

// end gives back leave to probe that has come to nothing.
func (p *pass) end() {
	if p.probe {
		p.change(func(h *host, _ time.Time) { h.probing = false })
		p.probe = false
	}
}

// pause leaves the host alone for a while, as it asked with an answer's status.
func (p *pass) pause(d time.Duration, status int) time.Duration {
	d = min(d, maxPause)
	if d > 0 {
		p.change(func(h *host, now time.Time) {
			if until := now.Add(d); until.After(h.paused) {
				h.paused, h.status = until, status
			}
		})
	}
	return d
}

func (p *pass) change(f func(*host, time.Time)) {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	h := g.hosts[p.to]
	if h == nil {
		h = &host{}
	}
	f(h, now)
	if h.failures == 0 && h.open.IsZero() && !h.paused.After(now) {
		delete(g.hosts, p.to)
		return
	}
	for to := range g.hosts { // any: who fills it has names without end
		if len(g.hosts) < maxHosts {
			break
		}
		delete(g.hosts, to)
	}
	g.hosts[p.to] = h
}

// retryAfter reads the header of that name, RFC 9110 §10.2.3: seconds or a
// date. 0: there is none, it is over or not understood.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > int64(math.MaxInt64/time.Second) {
			return math.MaxInt64
		}
		return time.Duration(n) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(0, t.Sub(now))
}
