package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"granary/formats"
)

// hijack answers with bytes of its own, then closes the connection or, until
// the client goes, does nothing.
func hijack(answer string, hang bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()           //nolint:errcheck // a test's server
		io.WriteString(conn, answer) //nolint:errcheck // a test's server
		if hang {
			io.Copy(io.Discard, conn) //nolint:errcheck // a test's server
		}
	}
}

func TestBodyThatEndsEarly(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
		"nothing": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("a.test", "203.0.113.1", hijack(answer, false))
			c := w.client(Config{})
			for range maxFailures {
				resp, err := c.Get(t.Context(), Request{Base: "http://a.test/"})
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.ReadAll(resp.Body)
				if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, formats.ErrUpstream) || errors.Is(err, formats.ErrUpstreamTimeout) {
					t.Errorf("got %v", err)
				}
				if _, again := resp.Body.Read(make([]byte, 1)); !errors.Is(again, err) {
					t.Errorf("then %v", again)
				}
				resp.Body.Close() //nolint:errcheck // read only
			}
			mustFail(t, c, Request{Base: "http://a.test/"}, ErrOpen) // such a host has failed
		})
	}
}

func TestGarbage(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":         "",
		"not HTTP":        "SSH-2.0-OpenSSH_9.2\r\n",
		"endless headers": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n",
		"two lengths":     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
		"negative length": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n12",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("a.test", "203.0.113.1", hijack(answer, false))
			if e := mustFail(t, w.client(Config{}), Request{Base: "http://a.test/"}, formats.ErrUpstream); e.Status != 0 {
				t.Errorf("%v", e)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	const short = 50 * time.Millisecond
	for name, tt := range map[string]struct {
		timeouts Timeouts
		answer   string
	}{
		"header":        {Timeouts{Header: short}, ""},
		"answer":        {Timeouts{Answer: short}, ""},
		"half a header": {Timeouts{Answer: short}, "HTTP/1.1 200 OK\r\nX: "},
		"first byte":    {Timeouts{Answer: 4 * short}, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"},
		"next byte":     {Timeouts{Idle: short}, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("a.test", "203.0.113.1", hijack(tt.answer, true))
			start := time.Now()
			e := mustFail(t, w.client(Config{Timeouts: tt.timeouts}), Request{Base: "http://a.test/"}, formats.ErrUpstreamTimeout)
			if d := time.Since(start); d > 25*time.Second { // by default it is 30 s
				t.Errorf("%v after %v", e, d)
			}
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	w := newWorld(t)
	w.names["a.test"] = "203.0.113.1"
	c := w.client(Config{Timeouts: Timeouts{Connect: 50 * time.Millisecond}})
	c.guard.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	mustFail(t, c, Request{Base: "http://a.test/"}, formats.ErrUpstreamTimeout)
}

// The time for an answer covers all redirects together.
func TestTimeoutCoversRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serveInMemory("a.test", "203.0.113.1", func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(60 * time.Millisecond)
			http.Redirect(rw, r, "/", http.StatusFound)
		})
		began := time.Now()
		e := mustFail(t, w.client(Config{Timeouts: Timeouts{Answer: 200 * time.Millisecond}}), Request{Base: "http://a.test/"}, formats.ErrUpstream)
		if took := time.Since(began); !errors.Is(e, formats.ErrUpstreamTimeout) || took != 200*time.Millisecond {
			t.Errorf("%v after %v", e, took)
		}
	})
}

// Bytes that flow may take longer than any single limit, and so may a reader.
func TestSlowIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serveInMemory("a.test", "203.0.113.1", func(rw http.ResponseWriter, _ *http.Request) {
			for i := range 10 {
				fmt.Fprint(rw, i)                      //nolint:errcheck // a test's server
				http.NewResponseController(rw).Flush() //nolint:errcheck // a test's server
				time.Sleep(140 * time.Millisecond)
			}
		})
		c := w.client(Config{Timeouts: Timeouts{Answer: 150 * time.Millisecond, Idle: 150 * time.Millisecond}})
		mustGet(t, c, Request{Base: "http://a.test/"}, "0123456789")
		resp, err := c.Get(t.Context(), Request{Base: "http://a.test/"})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Millisecond)
		if data, err := io.ReadAll(resp.Body); string(data) != "123456789" || err != nil {
			t.Errorf("got %q, %v", data, err)
		}
	})
}

// Who goes away is told so, and the host is not blamed.
func TestCallerGoes(t *testing.T) {
	w := newWorld(t)
	w.serve("silent.test", "203.0.113.1", hijack("", true))
	w.serve("half.test", "203.0.113.2", hijack("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true))
	c := w.client(Config{})
	gone := errors.New("gone")
	for range maxFailures + 1 {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Millisecond, func() { cancel(gone) })
		if _, err := c.Get(ctx, Request{Base: "http://silent.test/"}); !errors.Is(err, gone) || errors.Is(err, formats.ErrUpstream) {
			t.Fatalf("got %v", err)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		resp, err := c.Get(ctx, Request{Base: "http://half.test/"})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, func() { cancel(gone) })
		if _, err = io.ReadAll(resp.Body); err == nil || errors.Is(err, formats.ErrUpstream) {
			t.Fatalf("got %v", err)
		}
		resp.Body.Close() //nolint:errcheck // read only
		// Nor for a caller who has seen enough.
		resp, err = c.Get(t.Context(), Request{Base: "http://half.test/"})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() //nolint:errcheck // read only
		if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
			t.Fatal("read after Close")
		}
	}
	if len(c.gate.hosts) != 0 {
		t.Errorf("hosts are blamed: %v", c.gate.hosts)
	}
}

func TestCloseDuringRead(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", hijack("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true))
	resp, err := w.client(Config{}).Get(t.Context(), Request{Base: "http://a.test/"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(resp.Body)
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	resp.Body.Close() //nolint:errcheck // read only
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(time.Minute):
		t.Fatal("still reading")
	}
}

// Waiting for one of the connections to a host is not the host's failure.
func TestWaitingForAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serveInMemory("a.test", "203.0.113.1", hijack("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true))
		c := w.client(Config{Timeouts: Timeouts{Answer: 100 * time.Millisecond}})
		c.direct.MaxConnsPerHost = 1
		resp, err := c.Get(t.Context(), Request{Base: "http://a.test/"})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		mustFail(t, c, Request{Base: "http://a.test/"}, formats.ErrUpstreamTimeout)
		if len(c.gate.hosts) != 0 {
			t.Errorf("the host is blamed: %v", c.gate.hosts)
		}
	})
}

func TestConnectionsAreKept(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			rw.WriteHeader(404)
			return
		}
		io.WriteString(rw, strings.Repeat("x", 1<<20)) //nolint:errcheck // a test's server
	})
	c := w.client(Config{})
	for range 5 {
		mustGet(t, c, Request{Base: "http://a.test/"}, strings.Repeat("x", 1<<20))
		mustFail(t, c, Request{Base: "http://a.test/", Ref: "missing"}, formats.ErrNotFound)
	}
	if len(w.dialed) != 1 {
		t.Errorf("%d connections", len(w.dialed))
	}
}
