package content

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
)

// parts sends several ranges as multipart/byteranges (RFC 9110 §14.6). The
// store is asked once per range.
func (s *sender) parts(spans []span) error {
	mediaType := s.h.m["Content-Type"][0]
	sized := &counter{}
	m := multipart.NewWriter(sized)
	for _, p := range spans {
		if _, err := m.CreatePart(partHeader(p, mediaType, s.c.Size)); err != nil {
			return fmt.Errorf("measure the parts: %w", err)
		}
		sized.n += p.length
	}
	if err := m.Close(); err != nil {
		return fmt.Errorf("measure the parts: %w", err)
	}
	// Opened before the header is sent, so that a missing blob is an error and
	// not half an answer.
	first, err := s.openSpan(spans[0])
	if err != nil {
		return err
	}
	defer first.Close() //nolint:errcheck // a reader

	s.h.set("Content-Type", "multipart/byteranges; boundary="+m.Boundary())
	s.h.set("Content-Length", strconv.FormatInt(sized.n, 10))
	s.w.WriteHeader(http.StatusPartialContent)
	out := multipart.NewWriter(s.w)
	if err := out.SetBoundary(m.Boundary()); err != nil {
		return aborted(err)
	}
	for i, p := range spans {
		w, err := out.CreatePart(partHeader(p, mediaType, s.c.Size))
		if err != nil {
			return aborted(err)
		}
		if err := s.copySpan(w, first, i, p); err != nil {
			return err
		}
	}
	return aborted(out.Close())
}

func (s *sender) copySpan(w io.Writer, first io.Reader, i int, p span) error {
	if i == 0 {
		return copyExactly(w, first, p.length)
	}
	src, err := s.openSpan(p)
	if err != nil {
		return aborted(err)
	}
	defer src.Close() //nolint:errcheck // a reader
	return copyExactly(w, src, p.length)
}

func (s *sender) openSpan(p span) (io.ReadCloser, error) {
	return s.c.Open(s.r.Context(), p.start, p.length)
}

func partHeader(p span, mediaType string, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{
		"Content-Range": {p.contentRange(size)},
		"Content-Type":  {mediaType},
	}
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
