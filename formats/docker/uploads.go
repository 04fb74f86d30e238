package docker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"granary/formats"
)

// Call answers what is neither file nor upload of a manifest.
func (Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	switch op.Label {
	case labelTags:
		return listTags(w, r, op, view)
	case labelReferrers:
		return listReferrers(w, r, op, view)
	case labelCatalog:
		return listImages(w, r, view)
	case labelUpload:
		up := formats.UploadsOf(r.Context())
		if up == nil {
			return fmt.Errorf("uploads: %w", errors.ErrUnsupported)
		}
		return explain((&upload{w, r, op, up}).answer())
	}
	t, _ := split(op.Path)
	if err := t.check(false); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", op.Path, formats.ErrNotFound)
}

// explain gives the errors of uploads their codes.
func explain(err error) error {
	switch {
	case err == nil || formats.CodeOf(err) != "":
		return err
	case errors.Is(err, formats.ErrChecksum):
		return bad(codeDigestInvalid, "%v", err)
	case errors.Is(err, formats.ErrNotFound):
		return &formats.Coded{Code: codeUploadUnknown, Err: err}
	case errors.Is(err, formats.ErrOffset), errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrTruncated):
		return &formats.Coded{Code: codeUploadInvalid, Err: err}
	}
	return err
}

// upload is a request of the upload protocol, specification §"Push".
type upload struct {
	w  http.ResponseWriter
	r  *http.Request
	op formats.Op
	up formats.Uploads
}

func (u *upload) answer() error {
	if u.op.Name == "" {
		return u.begin()
	}
	s, err := u.up.Find(u.r.Context(), u.op.Scope, u.op.Name)
	if err != nil {
		return err
	}
	switch u.r.Method {
	case http.MethodPut:
		return u.finish(s)
	case http.MethodPatch:
		return u.append(s)
	}
	if s.Offset() < 0 {
		return fmt.Errorf("upload session: %w", formats.ErrNotFound)
	}
	if u.r.Method == http.MethodDelete {
		if err := s.Cancel(u.r.Context()); err != nil {
			return err
		}
		u.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	u.progress(s)
	u.w.WriteHeader(http.StatusNoContent)
	return nil
}

// record is that of a blob in the image.
func (u *upload) record(name string) formats.Record {
	return formats.Record{Scope: u.op.Scope, Name: name, Type: typeBlob, Move: true}
}

// begin mounts a blob, takes one whole, or opens a session.
func (u *upload) begin() error {
	q, ctx := u.r.URL.Query(), u.r.Context()
	if mount := q.Get("mount"); mount != "" {
		_, sums, err := parseDigest(mount)
		if err != nil {
			return err
		}
		if from := q.Get("from"); from != "" {
			_, err := u.up.Mount(ctx, from, func(name string) formats.Op {
				return blobOp(formats.Op{Kind: formats.File, Label: labelBlob, Name: mount}, name, sums)
			}, u.record(mount))
			if err == nil {
				return u.created(mount)
			}
			if !errors.Is(err, formats.ErrNotFound) {
				return err
			}
		}
	} else if name := q.Get("digest"); name != "" {
		_, sums, err := parseDigest(name)
		if err != nil {
			return err
		}
		if _, err := u.up.Publish(ctx, u.record(name), u.r.Body, u.r.ContentLength, sums); err != nil {
			return err
		}
		return u.created(name)
	}
	s, err := u.up.Begin(ctx, u.op.Scope)
	if err != nil {
		return err
	}
	u.progress(s)
	u.w.WriteHeader(http.StatusAccepted)
	return nil
}

// progress says how far a session is.
func (u *upload) progress(s formats.Session) {
	h := u.w.Header()
	h.Set("Location", escaped(below(u.r, "/blobs/uploads")+"/blobs/uploads/"+s.ID()))
	h.Set("Docker-Upload-Uuid", s.ID())
	h.Set("Range", "0-"+strconv.FormatInt(max(0, s.Offset()-1), 10))
	h.Set("Content-Length", "0")
}

// created says where a blob is.
func (u *upload) created(name string) error {
	h := u.w.Header()
	h.Set("Location", escaped(below(u.r, "/blobs/uploads")+"/blobs/"+name))
	h.Set("Docker-Content-Digest", name)
	h.Set("Content-Length", "0")
	u.w.WriteHeader(http.StatusCreated)
	return nil
}

func (u *upload) append(s formats.Session) error {
	c, err := u.chunk()
	if err != nil {
		return err
	}
	if c != nil {
		if err := s.Append(u.r.Context(), *c); err != nil {
			if errors.Is(err, formats.ErrOffset) {
				u.progress(s) // where to go on
			}
			return err
		}
	}
	u.progress(s)
	u.w.WriteHeader(http.StatusAccepted)
	return nil
}

// chunk reads what the request says of its body, nil if it has none.
func (u *upload) chunk() (*formats.Chunk, error) {
	c := &formats.Chunk{Body: u.r.Body, At: -1, Size: u.r.ContentLength}
	if v := u.r.Header.Get("Content-Range"); v != "" {
		first, size, err := parseContentRange(v)
		if err != nil {
			return nil, err
		}
		if c.Size >= 0 && c.Size != size {
			return nil, bad(codeSizeInvalid, "Content-Range %s and a body of %d bytes", v, c.Size)
		}
		c.At, c.Size = first, size
	}
	switch {
	case c.Size == 0 || u.r.Body == nil || u.r.Body == http.NoBody:
		return nil, nil //nolint:nilnil // no body is no error
	case c.Size < 0:
		body := bufio.NewReader(u.r.Body)
		if _, err := body.Peek(1); err != nil && u.r.Context().Err() == nil && errors.Is(err, io.EOF) {
			return nil, nil //nolint:nilnil // as above
		}
		c.Body = body
	}
	return c, nil
}

// parseContentRange reads "<first>-<last>", with the unit and the whole size
// that some clients add.
func parseContentRange(v string) (first, size int64, err error) {
	invalid := func() (int64, int64, error) {
		return 0, 0, bad(codeUploadInvalid, "Content-Range %.100q is not <first byte>-<last byte>", v)
	}
	s := strings.TrimSpace(v)
	for _, unit := range [...]string{"bytes=", "bytes "} {
		s = strings.TrimPrefix(s, unit)
	}
	s, _, _ = strings.Cut(s, "/")
	from, to, ok := strings.Cut(s, "-")
	a, err1 := strconv.ParseUint(from, 10, 62)
	b, err2 := strconv.ParseUint(to, 10, 62)
	if !ok || err1 != nil || err2 != nil || b < a {
		return invalid()
	}
	return int64(a), int64(b - a + 1), nil
}

// finish publishes what was uploaded, with what the request still brings.
func (u *upload) finish(s formats.Session) error {
	name := u.r.URL.Query().Get("digest")
	_, sums, err := parseDigest(name)
	if err != nil {
		return err
	}
	c, err := u.chunk()
	if err != nil {
		return err
	}
	if _, err := s.Finish(u.r.Context(), u.record(name), sums, c); err != nil {
		if errors.Is(err, formats.ErrOffset) {
			u.progress(s)
		}
		return err
	}
	return u.created(name)
}
