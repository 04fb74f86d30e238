package httpapi

import (
	"fmt"
	"testing"
	"time"

	"granary/repo/config"
)

func TestLimiter(t *testing.T) {
	burst := int64(3)
	c := &config.RateLimit{RequestsPerSecond: 10, BurstSize: &burst}
	l, now := &limiter{}, time.Unix(1000, 0)
	for i := range 3 {
		if w := l.take(now, "192.0.2.1", c); w != 0 {
			t.Errorf("request %d waits %v", i, w)
		}
	}
	if w := l.take(now, "192.0.2.1", c); w != 100*time.Millisecond {
		t.Errorf("beyond the burst: %v", w)
	}
	if w := l.take(now, "::ffff:192.0.2.1", c); w == 0 {
		t.Error("a mapped address is another client")
	}
	if w := l.take(now, "192.0.2.2", c); w != 0 {
		t.Errorf("another client waits %v", w)
	}
	if w := l.take(now.Add(100*time.Millisecond), "192.0.2.1", c); w != 0 {
		t.Errorf("after a pause: %v", w)
	}
	for i := range 3 {
		l.take(now, fmt.Sprintf("2001:db8::%d", i), c)
	}
	if w := l.take(now, "2001:db8::ffff", c); w == 0 {
		t.Error("addresses of one network are different clients")
	}
	for i := range maxLimited + 10 {
		l.take(now, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), c)
	}
	if len(l.full) > maxLimited {
		t.Errorf("%d clients are remembered", len(l.full))
	}
}

func TestRateLimit(t *testing.T) {
	now := time.Unix(1000, 0)
	r := newRig(t, func(c *Config) { c.Now = func() time.Time { return now } })
	r.json("admin", "PUT", "/api/v1/settings", `{"rate_limit":{"requests_per_second":1,"burst_size":2}}`).status(200)
	r.do("admin", "GET", "/api/v1/repositories", nil).status(200)
	r.do("admin", "GET", "/api/v1/repositories", nil).status(200)
	// No header says who a client is.
	r.do("admin", "GET", "/api/v1/repositories", nil, "X-Forwarded-For", "192.0.2.77").fails(429, "RATE_LIMITED", "").header("Retry-After", "1")
	for _, path := range []string{"/health", "/api/v1/health", "/live"} {
		r.do("", "GET", path, nil).status(200)
	}
	now = now.Add(time.Second)
	r.do("admin", "GET", "/api/v1/repositories", nil).status(200)
	r.do("admin", "GET", "/api/v1/repositories", nil).status(429)
	now = now.Add(time.Minute)
	r.json("admin", "PUT", "/api/v1/settings", `{"rate_limit":{"requests_per_second":0}}`).fails(400, "BAD_REQUEST", "invalid settings: rate_limit.requests_per_second")
	r.json("admin", "PUT", "/api/v1/settings", `{}`).status(200)
	for range 5 {
		r.do("admin", "GET", "/api/v1/repositories", nil).status(200)
	}
}
