package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"granary/blob"
	"granary/blob/blobtest"
	"granary/blob/check"
	"granary/integration/component"
)

func TestMain(m *testing.M) { os.Exit(component.Run(m)) }

// configOf returns the configuration for an empty bucket of a real server.
func configOf(t testing.TB) Config {
	b := component.VersityGW(t)
	return Config{Bucket: b.Bucket, Endpoint: b.Endpoint, Region: b.Region, AccessKey: b.AccessKey, SecretKey: b.SecretKey, MaxRetries: 3}
}

func open1(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newID(t testing.TB) blob.ID {
	t.Helper()
	id, err := blob.NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func put(t testing.TB, s *Store, id blob.ID, content []byte) {
	t.Helper()
	w, err := s.Create(t.Context(), id, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	blobtest.Suite{
		Many: 1100, Big: 64 << 20, Boundaries: []int{defaultPart},
		Open: func(t *testing.T) blob.Store { return open1(t, configOf(t)) },
	}.Run(t)
}

// Stores with different prefixes share a bucket and see nothing of each other.
func TestPrefix(t *testing.T) {
	cfg := configOf(t)
	a, b := cfg, cfg
	a.Prefix, b.Prefix = "granary", "/granary/two/"
	sa, sb := open1(t, a), open1(t, b)
	ia, ib := newID(t), newID(t)
	put(t, sa, ia, []byte("a"))
	put(t, sb, ib, []byte("b"))
	for _, c := range []struct {
		s    *Store
		want blob.ID
		key  string
	}{{sa, ia, "granary/" + ia.Path()}, {sb, ib, "granary/two/" + ib.Path()}} {
		n := 0
		for info, err := range c.s.List(t.Context(), "") {
			if n++; err != nil || info.ID != c.want {
				t.Errorf("listed %v, %v, want %s", info, err, c.want)
			}
		}
		if n != 1 {
			t.Errorf("listed %d blobs, want 1", n)
		}
		if _, err := c.s.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &cfg.Bucket, Key: &c.key}); err != nil {
			t.Errorf("object %s: %v", c.key, err)
		}
	}
	if err := check.Err(check.Run(t.Context(), sb)); err != nil {
		t.Error(err)
	}
}

func TestPresign(t *testing.T) {
	s := open1(t, configOf(t))
	id := newID(t)
	put(t, s, id, []byte("content"))
	url, ok, err := blob.Presign(t.Context(), s, id, time.Minute, blob.Header{
		ContentType: "text/x-test", ContentDisposition: `attachment; filename="a b"`, CacheControl: "no-store",
	})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	get := func(url string) (*http.Response, string) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	resp, body := get(url)
	h := resp.Header
	if resp.StatusCode != 200 || body != "content" || h.Get("Content-Type") != "text/x-test" ||
		h.Get("Content-Disposition") != `attachment; filename="a b"` || h.Get("Cache-Control") != "no-store" {
		t.Errorf("GET = %s, %q, %v", resp.Status, body, h)
	}
	if resp, _ := get(strings.Replace(url, "X-Amz-Signature=", "X-Amz-Signature=0", 1)); resp.StatusCode != 403 {
		t.Errorf("GET with another signature = %s", resp.Status)
	}
}

func TestDeleteMany(t *testing.T) {
	s := open1(t, configOf(t))
	var ids []blob.ID
	for range 5 {
		ids = append(ids, newID(t))
		put(t, s, ids[len(ids)-1], nil)
	}
	if err := blob.DeleteMany(t.Context(), s, append(ids[1:], newID(t))); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if _, err := s.Stat(t.Context(), id); (i == 0) != (err == nil) {
			t.Errorf("blob %d after the delete of 1 to 4: %v", i, err)
		}
	}
	if err := s.DeleteMany(t.Context(), []blob.ID{"../x"}); !errors.Is(err, blob.ErrInvalidID) {
		t.Errorf("DeleteMany of an invalid id = %v", err)
	}
}

// uploads returns how many multipart uploads the bucket has.
func uploads(t testing.TB, s *Store) int {
	t.Helper()
	out, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.cfg.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}

// An upload that fails or is aborted leaves no parts, whoever has gone.
func TestNoUploadIsLeft(t *testing.T) {
	s := open1(t, configOf(t))
	for _, n := range []int{9 << 20, 40 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := s.Create(ctx, newID(t), -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if got := uploads(t, s); got != 1 {
			t.Errorf("%d uploads while writing, want 1", got)
		}
		cancel()
		if err := w.Abort(ctx); err != nil {
			t.Errorf("Abort = %v", err)
		}
		if got := uploads(t, s); got != 0 {
			t.Errorf("%d uploads after Abort", got)
		}
		body := io.MultiReader(bytes.NewReader(make([]byte, n)), iotestErr{})
		if _, err := blob.Receive(t.Context(), s, body, blob.Options{Size: -1}); err == nil {
			t.Error("Receive of a broken body succeeded")
		}
		if got := uploads(t, s); got != 0 {
			t.Errorf("%d uploads after a broken body", got)
		}
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Only uploads that nobody adds to are aborted, and only ours.
func TestStaleUploads(t *testing.T) {
	cfg := configOf(t)
	cfg.Prefix = "mine"
	s := open1(t, cfg)
	w, err := s.Create(t.Context(), newID(t), -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 9<<20)); err != nil {
		t.Fatal(err)
	}
	w.(*writer).sending.Wait()
	for _, key := range []string{"mine/notes", newID(t).Path()} {
		if _, err := s.client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &cfg.Bucket, Key: aws.String(key)}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.StaleUploads(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("StaleUploads of an hour = %d, %v, want 0", n, err)
	}
	if n, err := s.StaleUploads(t.Context(), -time.Hour); n != 1 || err != nil {
		t.Errorf("StaleUploads of all = %d, %v, want 1", n, err)
	}
	if n := uploads(t, s); n != 2 {
		t.Errorf("%d uploads of others are left, want 2", n)
	}
	if err := w.Commit(t.Context()); err == nil {
		t.Error("Commit of an aborted upload succeeded")
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort of an aborted upload = %v", err)
	}
}

func TestMissingBucket(t *testing.T) {
	cfg := configOf(t)
	cfg.Bucket = "no-such-bucket"
	s := open1(t, cfg)
	id := newID(t)
	_, serr := s.Stat(t.Context(), id)
	_, oerr := s.Open(t.Context(), id, 0, -1)
	for _, err := range []error{serr, oerr, s.Delete(t.Context(), id)} {
		if !errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrNotFound) {
			t.Errorf("without a bucket: %v, want unavailable", err)
		}
	}
	if check.Err(check.Run(t.Context(), s)) == nil {
		t.Error("check of a missing bucket found nothing")
	}
}

// What lies in memory goes from there, and takes nothing of the memory of parts.
func TestPut(t *testing.T) {
	cfg := configOf(t)
	cfg.Memory = NewMemory(0)
	s := open1(t, cfg)
	if err := cfg.Memory.take(t.Context(), LeastMemory, false); err != nil {
		t.Fatal(err)
	}
	id := newID(t)
	content := bytes.Repeat([]byte("content "), 1<<20)
	if err := s.Put(t.Context(), id, content); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, s, id); !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back, want %d", len(got), len(content))
	}
	if err := s.Put(t.Context(), id, []byte("other")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("another blob of the id: %v, want ErrExists", err)
	}
	if got := readAll(t, s, id); !bytes.Equal(got, content) {
		t.Error("it was replaced")
	}
	empty := newID(t)
	if err := s.Put(t.Context(), empty, nil); err != nil || len(readAll(t, s, empty)) != 0 {
		t.Errorf("an empty one: %v", err)
	}
	if err := s.Put(t.Context(), "no id", nil); err == nil {
		t.Error("an id that can't be was taken")
	}
}

// Long uploads at once have no more memory than there is, and all come to their
// end.
func TestManyWriters(t *testing.T) {
	cfg := configOf(t)
	cfg.Memory = NewMemory(16 << 20)
	s := open1(t, cfg)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			id := newID(t)
			content := bytes.Repeat([]byte{byte(i)}, 20<<20+i)
			rc, err := blob.Receive(t.Context(), s, bytes.NewReader(content), blob.Options{Buffer: 1 << 20, Size: -1, Patient: true, NewID: func() (blob.ID, error) { return id, nil }})
			if err != nil {
				t.Error(err)
				return
			}
			defer rc.Discard(t.Context()) //nolint:errcheck // of a test's bucket
			cfg.Memory.mu.Lock()
			if cfg.Memory.left < 0 {
				t.Errorf("%d bytes are taken that there are not", -cfg.Memory.left)
			}
			cfg.Memory.mu.Unlock()
			if _, err := rc.Persist(t.Context()); err != nil {
				t.Error(err)
				return
			}
			if got := readAll(t, s, id); !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back, want %d", len(got), len(content))
			}
		})
	}
	wg.Wait()
	if m := cfg.Memory; m.left != m.total || m.users != 0 || len(m.free) > 0 {
		t.Errorf("%d of %d bytes came back, %d writers and %d segments are left", m.left, m.total, m.users, len(m.free))
	}
}

func TestWrongCredentials(t *testing.T) {
	cfg := configOf(t)
	cfg.SecretKey += "x"
	_, err := open1(t, cfg).Stat(t.Context(), newID(t))
	if err == nil || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat with a wrong key = %v", err)
	}
	if strings.Contains(fmt.Sprint(err), cfg.SecretKey) {
		t.Errorf("the secret is in the error: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	cfg := Config{Bucket: "bucket", Endpoint: "http://127.0.0.1:1", AccessKey: "a", SecretKey: "b"}
	s := open1(t, cfg)
	if _, err := s.Stat(t.Context(), newID(t)); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Stat = %v, want unavailable", err)
	}
}
