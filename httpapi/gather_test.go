package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"granary/httpapi/exchange"
)

// Whatever a handler writes by whatever pieces arrives as it was written, in
// order, on one connection.
func TestGatheredBodies(t *testing.T) {
	pieces := [][]int{
		{0}, {1}, {4095}, {4096}, {4097}, {3000, 3000, 3000}, {1, 4096, 1}, {8192, 100}, {100, 8192}, {1 << 20}, {4096, 4096, 4096}, {70_000, 1, 70_000},
	}
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, sum(pieces[i])) }
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, r := exchange.Begin(w, r, time.Minute, nil)
		c, ok := r.Context().Value(connKey{}).(*conn)
		if !ok {
			t.Error("no connection")
		}
		x.Conn = c
		var i int
		_, err := fmt.Sscanf(r.URL.Path, "/%d", &i)
		if err != nil {
			t.Error(err)
		}
		body := content(i)
		if r.URL.RawQuery == "length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		for _, n := range pieces[i] {
			if _, err := x.Write(body[:n]); err != nil {
				t.Error(err)
			}
			body = body[n:]
			if r.URL.RawQuery == "flush" {
				x.Flush()
			}
		}
	})
	address, _ := serve(t, ServerConfig{Handler: h})
	for _, query := range []string{"", "length", "flush"} {
		for i := range pieces {
			for _, method := range []string{"GET", "HEAD"} {
				req, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://%s/%d?%s", address, i, query), nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := content(i)
				if method == "HEAD" {
					want = nil
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s %v %s: %d of %d bytes, %v", method, pieces[i], query, len(got), len(want), err)
				}
			}
		}
	}
}

func sum(list []int) (n int) {
	for _, i := range list {
		n += i
	}
	return n
}

// A short piece waits for the long one behind it, and for nothing else.
func TestGather(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := listener{Listener: l, stall: time.Minute, pages: &sync.Pool{New: func() any { return new(page) }}}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	c, _ := accepted.(*conn)
	write := func(p string) {
		t.Helper()
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("%d of %d, %v", n, len(p), err)
		}
	}
	read := func(want string) {
		t.Helper()
		client.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // shows in the read
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || string(got) != want {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	silent := func() {
		t.Helper()
		client.SetReadDeadline(time.Now().Add(20 * time.Millisecond)) //nolint:errcheck // shows in the read
		if n, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes came, %v", n, err)
		}
	}
	long := string(bytes.Repeat([]byte("l"), 10_000))

	write("at once")
	read("at once")
	c.Gather()
	write("head")
	write("er")
	silent()
	write(long)
	read("header" + long)
	write("kept")
	silent()
	if err := c.Send(); err != nil {
		t.Fatal(err)
	}
	read("kept")
	if c.kept.page != nil {
		t.Error("a connection that keeps nothing has memory for it")
	}
	write("at once")
	read("at once")
	// What can't be sent is an error of the piece that it went with.
	c.Gather()
	write("header")
	c.Close()
	if n, err := c.Write([]byte(long)); n != 0 || err == nil {
		t.Errorf("%d bytes went to a closed connection, %v", n, err)
	}
	if err := c.Send(); err != nil {
		t.Errorf("nothing is kept any more: %v", err)
	}
}
