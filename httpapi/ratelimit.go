package httpapi

import (
	"net/netip"
	"sync"
	"time"

	"granary/repo/config"
)

// maxLimited is how many clients are told apart; beyond, those that have
// waited longest begin anew.
const maxLimited = 1 << 16

// limiter gives each client a number of requests a second, and as many at once
// as the burst. A client is an address, of IPv6 the network of a site (/64).
type limiter struct {
	mu sync.Mutex
	// full is when a client's allowance is whole again; guarded by mu. Who is
	// not in it has a whole one.
	full map[netip.Addr]time.Time
}

// take returns 0 if the client may send a request now, else how long it has to
// wait.
func (l *limiter) take(now time.Time, client string, c *config.RateLimit) time.Duration {
	each := time.Second / time.Duration(min(c.RequestsPerSecond, int64(time.Second)))
	burst := c.RequestsPerSecond
	if c.BurstSize != nil {
		burst = *c.BurstSize
	}
	key := network(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.full[key]
	if full.Before(now) {
		full = now
	}
	if over := full.Sub(now) - time.Duration(burst-1)*each; over > 0 {
		return over
	}
	if l.full == nil {
		l.full = map[netip.Addr]time.Time{}
	}
	if _, known := l.full[key]; !known && len(l.full) >= maxLimited {
		l.forget(now)
	}
	l.full[key] = full.Add(each)
	return 0
}

// forget needs mu. It drops who has a whole allowance, and if that is nobody,
// everybody.
func (l *limiter) forget(now time.Time) {
	for k, full := range l.full {
		if !full.After(now) {
			delete(l.full, k)
		}
	}
	if len(l.full) >= maxLimited {
		clear(l.full)
	}
}

func network(client string) netip.Addr {
	a, err := netip.ParseAddr(client)
	if err != nil {
		return netip.Addr{}
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
