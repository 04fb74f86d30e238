package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for an answer that comes at once.
const patience = time.Minute

const hidden = "DELETE /repository/files/kept.txt HTTP/1.1\r\nHost: h\r\n"

// What a proxy in front may take for the body of one request must never be run
// as another.
func TestSmuggling(t *testing.T) {
	g := guard(t)
	for name, head := range map[string]string{
		"length and chunked":          "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked and length":          "Transfer-Encoding: chunked\r\nCONTENT-LENGTH: 5\r\n\r\n0\r\n\r\n",
		"two lengths":                 "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"list of lengths":             "Content-Length: 0, 5\r\n\r\n",
		"negative length":             "Content-Length: -1\r\n\r\n",
		"signed length":               "Content-Length: +0\r\n\r\n",
		"length in words":             "Content-Length: none\r\n\r\n",
		"huge length":                 "Content-Length: 99999999999999999999\r\n\r\n",
		"space before the colon":      "Content-Length : 0\r\n\r\n",
		"unknown coding":              "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":               "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"obscured coding":             "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"folded coding":               "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"chunk size that is none":     "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
		"chunk size beyond 64 bits":   "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
		"chunk longer than announced": "Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
		"header without end":          "X-Long: " + strings.Repeat("x", 200<<10) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, g.Node, patience)
			// Writing may fail: the server need not take what it refuses.
			fmt.Fprintf(w, "POST /repository/files/kept.txt HTTP/1.1\r\nHost: h\r\n%s%s%s%s\r\n", admin, head, hidden, admin) //nolint:errcheck // see above
			resp, err := http.ReadResponse(w.r, &http.Request{Method: "POST"})
			if err == nil {
				if resp.StatusCode < 400 {
					t.Errorf("answered %s", resp.Status)
				}
				io.Copy(io.Discard, resp.Body) //nolint:errcheck // the connection may be reset
			}
			w.closed()
			g.untouched(t)
		})
	}
}

func TestWrongLength(t *testing.T) {
	g := guard(t)
	t.Run("none is an empty body", func(t *testing.T) {
		w := dial(t, g.Node, patience)
		w.send("PUT /repository/files/empty HTTP/1.1\r\nHost: h\r\n%s\r\n", admin)
		if resp, body := w.answer("PUT"); resp.StatusCode != 201 || !strings.Contains(body, `"size":0`) {
			t.Errorf("%s\n%s", resp.Status, body)
		}
		g.Want(204, http.MethodDelete, "/repository/files/empty", nil)
	})
	t.Run("longer than announced", func(t *testing.T) {
		// What is too much is the beginning of the next request, and none.
		w := dial(t, g.Node, patience)
		w.send("PUT /repository/files/kept.txt HTTP/1.1\r\nHost: h\r\n%sContent-Length: 4\r\n\r\nkept and more\r\n\r\n", admin)
		if resp, body := w.answer("PUT"); resp.StatusCode != 201 || !strings.Contains(body, `"size":4`) {
			t.Errorf("%s\n%s", resp.Status, body)
		}
		if resp, _ := w.answer("GET"); resp.StatusCode != 400 {
			t.Errorf("the rest was answered %s", resp.Status)
		}
		w.closed()
		g.untouched(t)
	})
	for name, body := range map[string]string{
		"shorter than announced":       "Content-Length: 1000\r\n\r\nshort",
		"shorter than announced, long": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", limit, strings.Repeat("x", 10<<20)),
		"chunks without end":           "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"half a chunk":                 "Transfer-Encoding: chunked\r\n\r\nffff\r\nhello",
		"long chunk without end":       fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", 10<<20, strings.Repeat("x", 10<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"cut", "kept.txt"} {
				// The half that sends is closed: the client still listens.
				w := dial(t, g.Node, patience)
				w.send("PUT /repository/files/%s HTTP/1.1\r\nHost: h\r\n%s%s", path, admin, body)
				if err := w.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if resp, text := w.answer("PUT"); resp.StatusCode != 500 || code(text) != "DATA_INTEGRITY_ERROR" {
					t.Errorf("%s: %s\n%s", path, resp.Status, text)
				}
				g.untouched(t)
			}
		})
	}
}

// Clients that vanish in the midst of an upload leave nothing behind.
func TestAbortedBodies(t *testing.T) {
	g := guard(t)
	block := bytes.Repeat([]byte("x"), 1<<20)
	for _, sent := range []int{0, 1, 9, 11} { // MiB; beyond 8 it is streamed to the store
		for _, head := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", limit), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", limit)} {
			w := dial(t, g.Node, patience)
			w.send("PUT /repository/files/gone HTTP/1.1\r\nHost: h\r\n%s%s", admin, head)
			for range sent {
				if _, err := w.Write(block); err != nil {
					t.Fatal(err)
				}
			}
			if resp, body := g.Do(http.MethodGet, "/repository/files/gone", nil); resp.StatusCode != 404 {
				t.Errorf("an upload that is still running is visible: %s, %d bytes", resp.Status, len(body))
			}
			if err := w.SetLinger(0); err != nil { // a reset, as of a client that crashed
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.untouched(t)
}

func TestTooLarge(t *testing.T) {
	g := guard(t)
	t.Run("announced", func(t *testing.T) {
		// The answer comes before any byte of the body was sent.
		w := dial(t, g.Node, patience)
		w.send("PUT /repository/files/big HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n", admin, limit+1)
		if resp, body := w.answer("PUT"); resp.StatusCode != 413 {
			t.Errorf("%s\n%s", resp.Status, body)
		}
		g.untouched(t)
	})
	t.Run("streamed", func(t *testing.T) {
		body := io.LimitReader(zeros{}, 2*limit)
		resp, text, err := g.Try(t.Context(), http.MethodPut, "/repository/files/big", struct{ io.Reader }{body})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 413 || !strings.Contains(string(text), fmt.Sprint(limit)) {
			t.Errorf("%s\n%s", resp.Status, text)
		}
		g.untouched(t)
	})
	t.Run("form", func(t *testing.T) {
		const head = "--b\r\nContent-Disposition: form-data; name=\"zip\"; filename=\"z\"\r\n\r\n"
		body := io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, 2*limit))
		resp, text, err := g.Try(t.Context(), http.MethodPost, "/repository/mods/upload", struct{ io.Reader }{body}, "Content-Type", "multipart/form-data; boundary=b")
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 413 {
			t.Errorf("%s\n%s", resp.Status, text)
		}
		g.untouched(t)
	})
	t.Run("exactly", func(t *testing.T) {
		g.Want(201, http.MethodPut, "/repository/files/most", struct{ io.Reader }{io.LimitReader(zeros{}, limit)})
		g.Want(204, http.MethodDelete, "/repository/files/most", nil)
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A client that waits for 100 Continue is refused without having sent its body.
func TestExpectRefused(t *testing.T) {
	g := guard(t)
	for _, tt := range []struct {
		path, header string
		status       int
	}{
		{"files/x", "", 401},
		{"files/x", "Authorization: Bearer x\r\n", 401},
		{"none/x", admin, 404},
		{"mods/x", admin, 405},
		{"files/a%00", admin, 400},
		{"files/x", admin + "X-Checksum-Sha256: none\r\n", 400},
	} {
		w := dial(t, g.Node, patience)
		w.send("PUT /repository/%s HTTP/1.1\r\nHost: h\r\n%sContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n", tt.path, tt.header)
		line, err := w.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
			t.Errorf("%s %.30q: %q, %v, want %d", tt.path, tt.header, line, err, tt.status)
			continue
		}
		if rest, err := io.ReadAll(w.r); err != nil || !bytes.Contains(rest, []byte("\r\n\r\n")) {
			t.Errorf("%s: the connection ends by %v\n%s", tt.path, err, rest)
		}
	}
	g.untouched(t)
	// An unknown expectation is no reason to hang.
	w := dial(t, g.Node, patience)
	w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%sContent-Length: 5\r\nExpect: miracles\r\n\r\n", admin)
	if resp, body := w.answer("PUT"); resp.StatusCode != 417 {
		t.Errorf("%s\n%s", resp.Status, body)
	}
	g.untouched(t)
}

// Request headers have 20 s to arrive, however they trickle in.
func TestTrickledHeaders(t *testing.T) {
	t.Parallel()
	g := guard(t)
	began := time.Now()
	w := dial(t, g.Node, 60*time.Second)
	w.send("GET /repository/files/kept.txt HTTP/1.1\r\nHost: h\r\n")
	cut := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-cut:
				return
			case <-time.After(500 * time.Millisecond):
			}
			if _, err := fmt.Fprintf(w, "X-%d: x\r\n", i); err != nil {
				return
			}
		}
	}()
	rest, err := io.ReadAll(w.r)
	close(cut)
	if took := time.Since(began); took < 15*time.Second || took > 40*time.Second {
		t.Errorf("cut after %s (%v, %q), want about 20 s", took, err, rest)
	}
	if bytes.Contains(rest, []byte("kept")) {
		t.Errorf("answered %q", rest)
	}
	g.untouched(t)
}
