package s3

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"granary/blob"
)

// proxied opens a store behind a proxy whose fault decides, per request, what
// the client gets instead of the answer; nil passes it on. With late, the
// request reaches the store all the same.
func proxied(t *testing.T, retries int, late bool, fault func(*http.Request) http.HandlerFunc) *Store {
	t.Helper()
	cfg := configOf(t)
	target, err := url.Parse(cfg.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	next := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		r.Out.Host = r.In.Host // it is signed
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := fault(r)
		if f == nil || late {
			var rec http.ResponseWriter = w
			if f != nil {
				rec = httptest.NewRecorder()
			}
			next.ServeHTTP(rec, r)
		}
		if f != nil {
			f(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	cfg.Endpoint, cfg.MaxRetries = srv.URL, retries
	return open1(t, cfg)
}

// answer is a fault with an S3 error in it.
func answer(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		w.Write([]byte("<Error><Code>" + code + "</Code><Message>test</Message></Error>"))
	}
}

// hangUp is a fault without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// once gives a fault the first time that match holds.
func once(match func(*http.Request) bool, f http.HandlerFunc) func(*http.Request) http.HandlerFunc {
	var done atomic.Bool
	return func(r *http.Request) http.HandlerFunc {
		if match(r) && done.CompareAndSwap(false, true) {
			return f
		}
		return nil
	}
}

func isPut(r *http.Request) bool {
	return r.Method == http.MethodPut && !strings.Contains(r.URL.RawQuery, "uploadId")
}
func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}
func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}
func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Count(r.URL.Path, "/") > 2
}

// A create whose reply is lost has happened once, and is told from a key that
// somebody else took.
func TestLostReply(t *testing.T) {
	for name, c := range map[string]struct {
		match func(*http.Request) bool
		size  int
	}{
		"put":      {isPut, 1000},
		"complete": {isComplete, 9 << 20},
		"part":     {isPart, 9 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			s := proxied(t, 3, true, once(c.match, hangUp))
			id := newID(t)
			put(t, s, id, make([]byte, c.size))
			info, err := s.Stat(t.Context(), id)
			if err != nil || info.Size != int64(c.size) {
				t.Errorf("Stat = %+v, %v", info, err)
			}
			w, err := s.Create(t.Context(), id, -1)
			if err != nil {
				t.Fatal(err)
			}
			w.Write([]byte("other"))
			if err := w.Commit(t.Context()); !errors.Is(err, blob.ErrExists) {
				t.Errorf("second Commit = %v, want ErrExists", err)
			}
			if err := w.Abort(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the store says gets its name in the contract.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		match  func(*http.Request) bool
		status int
		code   string
		want   error
	}{
		{"full", isPut, 507, "InsufficientStorage", blob.ErrNoSpace},
		{"quota", isPut, 403, "QuotaExceeded", blob.ErrNoSpace},
		{"full disk of a part", isPart, 507, "XMinioStorageFull", blob.ErrNoSpace},
		{"slow down", isPut, 503, "SlowDown", blob.ErrUnavailable},
		{"too many", isPut, 429, "TooManyRequests", blob.ErrUnavailable},
		{"internal", isComplete, 500, "InternalError", blob.ErrUnavailable},
		{"too large", isPut, 400, "EntityTooLarge", blob.ErrTooLarge},
		{"conflict for ever", isPut, 409, "ConditionalRequestConflict", blob.ErrExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := proxied(t, 0, false, func(r *http.Request) http.HandlerFunc {
				if c.match(r) {
					return answer(c.status, c.code)
				}
				return nil
			})
			id := newID(t)
			w, err := s.Create(t.Context(), id, -1)
			if err != nil {
				t.Fatal(err)
			}
			size := 1000
			if !c.match(&http.Request{Method: http.MethodPut, URL: &url.URL{}}) {
				size = 9 << 20
			}
			_, err = w.Write(make([]byte, size))
			if err == nil {
				err = w.Commit(t.Context())
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%d %s gives %v, want %v", c.status, c.code, err, c.want)
			}
			if err := w.Abort(t.Context()); err != nil {
				t.Errorf("Abort = %v", err)
			}
			if _, err := s.Stat(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("Stat = %v", err)
			}
			if n := uploads(t, s); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// A store without conditional writes or batch delete is used without.
func TestFallbacks(t *testing.T) {
	var conditional, batches atomic.Int32
	s := proxied(t, 0, false, func(r *http.Request) http.HandlerFunc {
		if r.Header.Get("If-None-Match") != "" {
			conditional.Add(1)
			return answer(501, "NotImplemented")
		}
		if r.Method == http.MethodPost && r.URL.Query().Has("delete") {
			batches.Add(1)
			return answer(400, "MissingContentMD5")
		}
		return nil
	})
	var ids []blob.ID
	for _, size := range []int{10, 9 << 20} {
		ids = append(ids, newID(t))
		put(t, s, ids[len(ids)-1], make([]byte, size))
	}
	if err := s.DeleteMany(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := s.Stat(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Stat after DeleteMany = %v", err)
		}
	}
	if conditional.Load() == 0 || batches.Load() == 0 {
		t.Errorf("%d conditional requests and %d batches were refused", conditional.Load(), batches.Load())
	}
}

// A range that the store answers with something else is an error, not other
// bytes.
func TestRangeIgnored(t *testing.T) {
	s := proxied(t, 0, false, func(r *http.Request) http.HandlerFunc {
		if isRead(r) {
			r.Header.Del("Range")
			return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("0123456789")) }
		}
		return nil
	})
	id := newID(t)
	put(t, s, id, []byte("0123456789"))
	if r, err := s.Open(t.Context(), id, 5, 2); err == nil {
		r.Close()
		t.Error("Open of a range succeeded")
	}
}

// A part that hangs neither holds a cancelled request for ever nor survives it.
func TestCancelledWhileSending(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s := proxied(t, 0, false, func(r *http.Request) http.HandlerFunc {
		if isPart(r) {
			return func(_ http.ResponseWriter, r *http.Request) {
				first.Do(func() { close(begun) })
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
		}
		return nil
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	w, err := s.Create(ctx, newID(t), -1)
	if err != nil {
		t.Fatal(err)
	}
	var gone sync.WaitGroup
	gone.Go(func() {
		<-begun
		cancel(errGone)
		close(release)
	})
	_, err = w.Write(make([]byte, 64<<20))
	gone.Wait()
	if !errors.Is(err, errGone) {
		t.Errorf("Write = %v, want the cause of the cancellation", err)
	}
	if err := w.Abort(ctx); err != nil {
		t.Error(err)
	}
	if n := uploads(t, s); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

var errGone = errors.New("the client has gone")
