package upstream

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"granary/formats"
)

func TestBreaker(t *testing.T) {
	w := newWorld(t)
	var code, asked atomic.Int32
	w.serve("a.test", "203.0.113.1", func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		rw.WriteHeader(int(code.Load()))
	})
	w.serve("b.test", "203.0.113.2", text("b"))
	c := w.client(Config{})
	r := Request{Base: "http://a.test/"}
	fail := func(n int, want error) {
		t.Helper()
		for range n {
			if e := mustFail(t, c, r, formats.ErrUpstream); errors.Is(e, ErrOpen) != (want == ErrOpen) {
				t.Fatalf("got %v, want %v", e, want)
			}
		}
	}
	open := func() {
		t.Helper()
		before := asked.Load()
		e := mustFail(t, c, r, ErrOpen)
		if asked.Load() != before || e.RetryAfter <= 0 || e.RetryAfter > restFor {
			t.Fatalf("open, and yet asked; or %v", e)
		}
	}
	code.Store(500)
	fail(maxFailures-1, nil)
	code.Store(200)
	mustGet(t, c, r, "") // ends the row
	code.Store(502)
	fail(maxFailures-1, nil)
	code.Store(404)
	mustFail(t, c, r, formats.ErrNotFound) // so does any answer below 500
	code.Store(500)
	fail(maxFailures, nil)
	open()
	mustGet(t, c, Request{Base: "http://b.test/"}, "b") // other hosts are not concerned
	w.add(restFor)
	fail(1, nil) // the probe fails
	open()
	w.add(restFor)
	code.Store(200)
	mustGet(t, c, r, "") // the probe succeeds
	code.Store(500)
	fail(maxFailures, nil) // and a whole row is needed again
	open()
	for _, never := range []int{400, 401, 403, 404, 429} {
		w.add(restFor)
		code.Store(int32(never))
		for range 2 * maxFailures {
			if _, err := get(t, c, r); errors.Is(err, ErrOpen) {
				t.Fatalf("opened by status %d", never)
			}
		}
	}
	if len(c.gate.hosts) != 0 {
		t.Errorf("%d hosts remembered", len(c.gate.hosts))
	}
}

func TestBreakerOpensForDeadHosts(t *testing.T) {
	w := newWorld(t)
	w.names["dead.test"] = "203.0.113.1"
	c := w.client(Config{})
	for _, host := range []string{"dead.test", "unknown.test"} {
		for range maxFailures {
			if e := mustFail(t, c, Request{Base: "http://" + host}, formats.ErrUpstream); errors.Is(e, ErrOpen) {
				t.Fatal(e)
			}
		}
		mustFail(t, c, Request{Base: "http://" + host}, ErrOpen)
	}
}

func TestOneProbeAtATime(t *testing.T) {
	w := newWorld(t)
	g := newGate(w.now)
	to := origin{"http", "a.test", "80"}
	for range maxFailures {
		p, _ := g.enter(to)
		p.bad()
		p.end()
	}
	w.add(restFor)
	probe, closed := g.enter(to)
	if closed != nil {
		t.Fatal("no probe after the rest")
	}
	if _, closed := g.enter(to); closed == nil || closed.wait != restFor {
		t.Fatalf("a second probe: %v", closed)
	}
	probe.end() // its caller went away: another one may probe
	probe, closed = g.enter(to)
	if closed != nil {
		t.Fatal("nobody may probe any more")
	}
	probe.begun()
	if _, closed := g.enter(to); closed != nil {
		t.Error("closed although the probe is answered")
	}
}

// A failure that began before the breaker opened does not make it rest longer.
func TestLateFailures(t *testing.T) {
	w := newWorld(t)
	g := newGate(w.now)
	to := origin{"http", "a.test", "80"}
	var late []*pass
	for range maxFailures + 5 {
		p, _ := g.enter(to)
		late = append(late, p)
	}
	for i, p := range late {
		if i == maxFailures {
			w.add(restFor / 2)
		}
		p.bad()
	}
	w.add(restFor / 2)
	if _, closed := g.enter(to); closed != nil {
		t.Errorf("still closed for %v", closed.wait)
	}
}

func TestHostsAreBounded(t *testing.T) {
	w := newWorld(t)
	g := newGate(w.now)
	for i := range maxHosts + 10 {
		p, _ := g.enter(origin{"http", fmt.Sprint(i), "80"})
		p.bad()
	}
	if len(g.hosts) > maxHosts {
		t.Errorf("%d hosts", len(g.hosts))
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, code := range []int{429, 503} {
		w := newWorld(t)
		var asked atomic.Int32
		header := "7"
		w.serve("a.test", "203.0.113.1", func(rw http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				rw.Header().Set("Retry-After", header)
				rw.WriteHeader(code)
			}
		})
		c := w.client(Config{})
		r := Request{Base: "http://a.test/"}
		if e := mustFail(t, c, r, formats.ErrUpstream); e.Status != code || e.RetryAfter != 7*time.Second || errors.Is(e, ErrOpen) {
			t.Errorf("%d: %v", code, e)
		}
		w.add(2 * time.Second)
		if e := mustFail(t, c, r, ErrOpen); e.Status != code || e.RetryAfter != 5*time.Second {
			t.Errorf("%d: meanwhile %v", code, e)
		}
		w.add(5 * time.Second)
		mustGet(t, c, r, "")
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "-1": 0, "1.5": 0, "soon": 0, "99999999999999999999": math.MaxInt64,
		"Sun, 22 Nov 2026 10:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 09:00:00 GMT": 0, "Sunday, 22-Nov-26 10:00:01 GMT": time.Second,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	w := newWorld(t)
	g := newGate(w.now)
	p, _ := g.enter(origin{})
	if d := p.pause(math.MaxInt64, 429); d != maxPause {
		t.Errorf("paused for %v, want %v", d, maxPause)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "99999999999999999999", "Sun, 22 Nov 2026 10:00:30 GMT", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(http.Header{"Retry-After": {value}}, time.Unix(0, 0)); d < 0 {
			t.Errorf("%q: %v", value, d)
		}
	})
}

func FuzzTarget(f *testing.F) {
	f.Add("http://a.test/base", "x/y")
	f.Add("http://a.test/base%2Fx/", "ü ?#%2e")
	f.Add("http://a.test", "http://b.test/")
	f.Add("http://a.test", "//b.test/")
	f.Fuzz(func(t *testing.T, base, ref string) {
		b, u, err := Request{Base: base, Ref: ref}.target()
		if err != nil {
			return
		}
		if u.User != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q %q: %v", base, ref, u)
		}
		again, err := url.Parse(u.String())
		if err != nil || originOf(again) != originOf(u) {
			t.Errorf("%q %q: %v does not come back: %v, %v", base, ref, u, again, err)
		}
		if len(ref) > 4 && ref[:4] != "http" && originOf(u) != originOf(b) {
			t.Errorf("%q leads from %q to %v", ref, base, u)
		}
	})
}
