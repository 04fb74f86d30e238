// Package content sends files and documents over HTTP: entity tags and dates,
// conditional requests, ranges, HEAD, caching and the headers that carry
// checksums. It knows nothing of repositories or users.
package content

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"strconv"
	"time"

	"granary/digest"
	"granary/formats"
)

var (
	// ErrPrecondition is returned when If-Match or If-Unmodified-Since does not
	// hold; 412. Nothing was sent.
	ErrPrecondition = formats.ErrPrecondition
	// ErrAborted is returned when the bytes ended early or the client went away
	// after the header was sent. The connection must be cut, so that the client
	// does not take what it has for the whole.
	ErrAborted = errors.New("answer cut off")
)

// RangeError is returned when no range of the request lies within the file;
// 416. Nothing but the Content-Range header was set.
type RangeError struct{ Size int64 }

func (e *RangeError) Error() string {
	return fmt.Sprintf("no range of the request lies within the %d bytes", e.Size)
}

// Options say how a content is sent.
type Options struct {
	// Private: the request carried credentials, so that a shared cache must
	// not keep the answer.
	Private bool
	// Document: what is sent was rendered, and may depend on Accept.
	Document bool
	// Disposition is the Content-Disposition header; "" sends none.
	Disposition string
	// Base tells the URL of the repository without a slash at its end, which
	// Expand puts in place of the stand-ins of [formats.Content].Expand. Only
	// what has stand-ins needs it.
	Base   func() string
	Expand func(w io.Writer, base string) io.WriteCloser
	// Now is the time of the answer. Optional: without it dates are taken to
	// tell states apart.
	Now time.Time
}

func (o *Options) base() string {
	if o.Base == nil {
		return ""
	}
	return o.Base()
}

// settled is the age from which a date tells one state from the next: dates
// have seconds, and the clocks of nodes differ by up to half a second.
const settled = 2 * time.Second

// Serve answers a GET or HEAD with c. An error other than ErrAborted was
// returned before anything was sent.
func Serve(w http.ResponseWriter, r *http.Request, c *formats.Content, o Options) error {
	s := sender{w: w, r: r, c: c, o: o, h: header{m: w.Header(), values: make([]string, 0, 16)}}
	s.negotiate()
	s.describe()
	c = s.c
	switch evaluate(r.Header, s.etag, c.Time) {
	case failed:
		return ErrPrecondition
	case notModified:
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if c.Expand {
		return s.expanded()
	}
	s.payload()
	if c.Size < 0 {
		return s.whole()
	}
	s.h.set("Accept-Ranges", "bytes")
	if v := r.Header["Range"]; len(v) == 1 && r.Method == http.MethodGet && c.Size > 0 && rangeHolds(r.Header, s.etag, c.Time) {
		spans, ok := parseRange(v[0], c.Size)
		switch {
		case !ok:
			return &RangeError{Size: c.Size}
		case len(spans) == 1:
			return s.part(spans[0])
		case len(spans) > 1:
			return s.parts(spans)
		}
	}
	return s.whole()
}

// sender is one answer on its way.
type sender struct {
	w    http.ResponseWriter
	r    *http.Request
	c    *formats.Content // the variant that is sent
	o    Options
	h    header
	etag string
	// variants: there is a compressed one; gzip: it is the one that is sent.
	variants, gzip bool
}

// header sets values without an allocation for each.
type header struct {
	m      http.Header
	values []string
}

// set takes a key in canonical form.
func (h *header) set(key, value string) {
	h.values = append(h.values, value)
	n := len(h.values)
	h.m[key] = h.values[n-1 : n : n]
}

// describe sets what a 304 carries too.
func (s *sender) describe() {
	b := make([]byte, 0, 128)
	if len(s.c.Sums.BLAKE3) > 0 {
		b = appendTag(b, s.c.Sums)
	}
	tag := len(b)
	if !s.c.Time.IsZero() {
		b = s.modified().UTC().AppendFormat(b, http.TimeFormat)
	}
	text := string(b) // one for both
	if tag > 0 {
		s.etag = text[:tag]
		if s.c.Expand {
			s.etag = expandedTag(s.etag, s.o.base())
		}
		s.h.set("Etag", s.etag)
	}
	if len(text) > tag {
		s.h.set("Last-Modified", text[tag:])
	}
	s.h.set("Cache-Control", cacheControl(s.c.Fixed, s.o.Private))
	if v := s.vary(); v != "" {
		s.h.set("Vary", v)
	}
	if s.c.Warning != "" {
		s.h.set("Warning", s.c.Warning)
	}
}

// modified is the date that a client is told. What was changed just now may
// change again within the same second, and a client that asks by date alone, as
// apt does, would never hear of it: it is told an earlier date, with which it
// gets the same again.
func (s *sender) modified() time.Time {
	if !s.c.Fixed && !s.o.Now.IsZero() && s.o.Now.Sub(s.c.Time) < settled {
		return s.c.Time.Add(-settled)
	}
	return s.c.Time
}

// payload sets what describes the stored bytes, which an expanded document
// does not consist of.
func (s *sender) payload() {
	s.media()
	if s.gzip {
		// The checksums that clients compare are those of what they unpack.
		s.h.set("Content-Encoding", "gzip")
		return
	}
	sums := &s.c.Sums
	if s.etag != "" {
		blake3 := s.etag[1 : len(s.etag)-1]
		s.h.set("X-Checksum-Blake3", blake3)
		s.h.set("X-Blob-Id", BlobID(s.c.BlobID, blake3))
	} else if s.c.BlobID != "" {
		s.h.set("X-Blob-Id", s.c.BlobID)
	}
	checksums := [...]struct {
		header string
		sum    []byte
	}{
		{"X-Checksum-Sha256", sums.SHA256},
		{"X-Checksum-Sha1", sums.SHA1},
		{"X-Checksum-Sha512", sums.SHA512},
		{"X-Checksum-Md5", sums.MD5},
	}
	b := make([]byte, 0, 288)
	for _, c := range checksums {
		b = hex.AppendEncode(b, c.sum)
	}
	text := string(b) // one for all
	for _, c := range checksums {
		if n := hex.EncodedLen(len(c.sum)); n > 0 {
			s.h.set(c.header, text[:n])
			text = text[n:]
		}
	}
}

func (s *sender) media() {
	t := s.c.Type
	if t == "" {
		t = "application/octet-stream"
	}
	s.h.set("Content-Type", t)
	if s.o.Disposition != "" {
		s.h.set("Content-Disposition", s.o.Disposition)
	}
	if Scriptable(t) {
		s.h.set("Content-Security-Policy", "sandbox; frame-ancestors 'none'")
		s.h.set("Referrer-Policy", "no-referrer")
	}
}

func (s *sender) head() bool { return s.r.Method == http.MethodHead }

// whole sends everything.
func (s *sender) whole() error {
	// An empty body carries no length: that is what the surface says, and
	// net/http frames it.
	if s.c.Size > 0 {
		s.h.set("Content-Length", strconv.FormatInt(s.c.Size, 10))
	}
	if s.head() {
		s.w.WriteHeader(http.StatusOK)
		return nil
	}
	return s.send(http.StatusOK, span{0, s.c.Size})
}

// part sends one range.
func (s *sender) part(p span) error {
	s.h.set("Content-Range", p.contentRange(s.c.Size))
	s.h.set("Content-Length", strconv.FormatInt(p.length, 10))
	return s.send(http.StatusPartialContent, p)
}

// send answers with status and the bytes of p, whose length is -1 if unknown.
func (s *sender) send(status int, p span) error {
	if s.inline() {
		s.w.WriteHeader(status)
		_, err := s.w.Write(s.c.Inline[p.start : p.start+p.length])
		return aborted(err)
	}
	src, err := s.c.Open(s.r.Context(), p.start, p.length)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // a reader
	s.w.WriteHeader(status)
	return copyExactly(s.w, src, p.length)
}

// inline tells whether all bytes are at hand.
func (s *sender) inline() bool {
	return s.c.Size >= 0 && int64(len(s.c.Inline)) == s.c.Size && (s.c.Size > 0 || s.c.BlobID == "")
}

// copyExactly lets src and w find their fast path (sendfile) and checks the
// length, -1 for any.
func copyExactly(w io.Writer, src io.Reader, length int64) error {
	n, err := io.Copy(w, src)
	if err == nil && length >= 0 && n != length {
		err = fmt.Errorf("%w: %d bytes of %d", io.ErrUnexpectedEOF, n, length)
	}
	return aborted(err)
}

// expanded sends a document with its stand-ins replaced. Its length is not
// known beforehand and it has no ranges.
func (s *sender) expanded() error {
	s.media()
	if s.head() {
		s.w.WriteHeader(http.StatusOK)
		return nil
	}
	src, err := s.open(s.r.Context())
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // a reader
	s.w.WriteHeader(http.StatusOK)
	out := s.o.Expand(s.w, s.o.base())
	if _, err := io.Copy(out, src); err != nil {
		return aborted(err)
	}
	return aborted(out.Close())
}

func (s *sender) open(ctx context.Context) (io.ReadCloser, error) { return s.c.Open(ctx, 0, -1) }

func aborted(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrAborted, err)
}

// Uncached sets what an answer carries that is made anew for each request.
// private: it was made for who showed credentials.
func Uncached(h http.Header, private bool) {
	h.Set("Cache-Control", cacheControl(false, private))
	if private {
		h.Set("Vary", "Authorization")
	}
}

// cacheControl: content that can't change may be kept for ever; the rest is
// asked about each time.
func cacheControl(fixed, private bool) string {
	switch {
	case fixed && private:
		return "private, max-age=31536000, immutable"
	case fixed:
		return "public, max-age=31536000, immutable"
	case private:
		return "private, no-cache"
	}
	return "no-cache"
}

// ETag returns the entity tag of stored bytes, "" if their BLAKE3 is not known.
func ETag(s digest.Sums) string {
	if len(s.BLAKE3) == 0 {
		return ""
	}
	return string(appendTag(make([]byte, 0, 66), s))
}

func appendTag(b []byte, s digest.Sums) []byte {
	return append(hex.AppendEncode(append(b, '"'), s.BLAKE3), '"')
}

// expandedTag tells apart what one document becomes under several base URLs.
func expandedTag(etag, base string) string {
	h := fnv.New64a()
	io.WriteString(h, base) //nolint:errcheck // hash.Hash never returns an error
	return etag[:len(etag)-1] + "-" + strconv.FormatUint(h.Sum64(), 16) + `"`
}

// BlobID is what clients are told: the id in the store, and for bytes that lie
// in the record the name of their content.
func BlobID(id, blake3 string) string {
	if id == "" {
		return blake3
	}
	return id
}

// TagOf is the entity tag of bytes that are not stored anywhere.
func TagOf(b []byte) string {
	h := digest.NewHasher()
	h.Write(b) //nolint:errcheck // a Hasher never returns an error
	return ETag(h.Sums())
}
