package integration_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"granary/integration/component"
	"granary/integration/node"
)

// counted is a bucket's server behind one that counts what it gets.
type counted struct {
	sent, copies atomic.Int64 // bytes in bodies; requests that copy
}

func (c *counted) ServeHTTP(to http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			c.copies.Add(1)
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(r.Body, counter{&c.sent}), r.Body}
		to.ServeHTTP(w, r)
	}
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// The chunks of an upload are the parts of the object that it becomes: each byte
// goes to the bucket once, but for those of chunks too short to be a part, on
// whatever nodes they arrive.
func TestChunksAreNotCopied(t *testing.T) {
	nodes := node.Cluster(t, 2)
	bucket := component.VersityGW(t)
	target, err := url.Parse(bucket.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var c counted
	// The name in the Host header is signed: it stays.
	front := httptest.NewServer(c.ServeHTTP(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}))
	defer front.Close()
	nodes[0].Want(http.StatusCreated, http.MethodPost, "/api/v1/stores", strings.NewReader(fmt.Sprintf(
		`{"name":"counted","store_type":"s3","bucket":%q,"endpoint":%q,"region":%q,"access_key":%q,"secret_key":%q}`,
		bucket.Bucket, front.URL, bucket.Region, bucket.AccessKey, bucket.SecretKey)), "Content-Type", "application/json")
	nodes[0].Create(`{"name":"images","repo_type":"hosted","format":"docker","store":"counted"}`)

	const mib = 1 << 20
	for _, test := range []struct {
		name   string
		chunks []int
		most   int64 // bytes that may be sent twice
	}{
		{"long chunks", []int{6 * mib, 20*mib + 1, 9 * mib}, 0},
		{"one chunk", []int{11 * mib}, 0},
		{"a short end", []int{8 * mib, 8 * mib, 1000}, 1000},
		{"short chunks between", []int{2 * mib, 6 * mib, mib, mib, 7 * mib, 3 * mib}, 7 * mib},
	} {
		t.Run(test.name, func(t *testing.T) {
			total := 0
			for _, n := range test.chunks {
				total += n
			}
			content := make([]byte, total)
			rand.Read(content) //nolint:errcheck // never fails
			c.sent.Store(0)
			resp, _ := nodes[0].Do(http.MethodPost, "/v2/images/app/blobs/uploads/", nil)
			at := resp.Header.Get("Location")
			from := 0
			for i, n := range test.chunks {
				nodes[i%2].Want(http.StatusAccepted, http.MethodPatch, at, bytes.NewReader(content[from:from+n]), "Content-Range", fmt.Sprintf("%d-%d", from, from+n-1))
				if i == 0 {
					// A chunk that breaks off counts for nothing.
					broken := io.MultiReader(bytes.NewReader(content[:7*mib]), brokenBody{})
					nodes[1].Try(t.Context(), http.MethodPatch, at, broken, "Content-Range", fmt.Sprintf("%d-%d", n, n+8*mib-1)) //nolint:errcheck // it fails
					c.sent.Store(int64(n))
				}
				from += n
			}
			sum := sha256.Sum256(content)
			name := "sha256:" + hex.EncodeToString(sum[:])
			for range 2 { // the second finisher answers from the record
				nodes[1].Want(http.StatusCreated, http.MethodPut, at+"?digest="+name, nil)
			}
			if got := nodes[0].Want(http.StatusOK, http.MethodGet, "/v2/images/app/blobs/"+name, nil); !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back wrong", len(got))
			}
			const chatter = 100 << 10 // requests that have bodies of their own, and signatures of chunks
			if sent := c.sent.Load(); sent < int64(total) || sent > int64(total)+test.most+chatter {
				t.Errorf("%d bytes were sent to the bucket for %d, want at most %d twice", sent, total, test.most)
			}
		})
	}
	if n := c.copies.Load(); n != 0 {
		t.Errorf("%d requests copied something", n)
	}
	t.Run("content that is there", func(t *testing.T) {
		content := bytes.Repeat([]byte("0123456789abcdef"), mib)
		sum := sha256.Sum256(content)
		name := "sha256:" + hex.EncodeToString(sum[:])
		for i := range 3 {
			image := fmt.Sprintf("/v2/images/again%d", i)
			resp, _ := nodes[0].Do(http.MethodPost, image+"/blobs/uploads/", nil)
			at := resp.Header.Get("Location")
			nodes[0].Want(http.StatusAccepted, http.MethodPatch, at, bytes.NewReader(content[:8*mib]), "Content-Range", fmt.Sprintf("0-%d", 8*mib-1))
			nodes[1].Want(http.StatusCreated, http.MethodPut, at+"?digest="+name, bytes.NewReader(content[8*mib:]))
			if got := nodes[1].Want(http.StatusOK, http.MethodGet, image+"/blobs/"+name, nil); !bytes.Equal(got, content) {
				t.Errorf("%d bytes came back wrong", len(got))
			}
		}
	})
	t.Run("a wrong digest", func(t *testing.T) {
		resp, _ := nodes[0].Do(http.MethodPost, "/v2/images/bad/blobs/uploads/", nil)
		at := resp.Header.Get("Location")
		nodes[0].Want(http.StatusAccepted, http.MethodPatch, at, bytes.NewReader(make([]byte, 6*mib)), "Content-Range", fmt.Sprintf("0-%d", 6*mib-1))
		nodes[1].Want(http.StatusBadRequest, http.MethodPut, at+"?digest=sha256:"+strings.Repeat("0", 64), nil)
		nodes[0].Want(http.StatusNotFound, http.MethodGet, at, nil)
	})
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
