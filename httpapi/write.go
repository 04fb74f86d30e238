package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"granary/digest"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/rest"
	"granary/repo"
)

// write gives the body to the format. Nothing has read of it before: a client
// that asked for 100 Continue gets it with the first read.
func (a *artifact) write(op formats.Op) error {
	limit, err := a.limit()
	if err != nil {
		return err
	}
	up := &formats.Upload{
		Header: a.r.Header, Query: a.req.Query, Repository: a.target.Repository,
		Body: formats.Limit(a.r.Body, limit, "body"), Size: a.r.ContentLength,
	}
	records, err := a.handle.Write(a.r.Context(), op, up, a.precondition())
	if err != nil {
		return err
	}
	if n, ok := a.handle.Format.(formats.Answerer); ok && n.Answer(a.w, a.r, op, records) {
		return nil
	}
	if len(records) == 0 {
		a.w.WriteHeader(http.StatusCreated)
		return nil
	}
	return a.created(records[0])
}

// call runs a call of the format's own, whose body is bounded like an upload;
// the format knows tighter limits.
func (a *artifact) call(op formats.Op) error {
	a.uncached()
	limit, err := a.limit()
	if err != nil {
		return err
	}
	if a.r.Body != nil && a.r.Body != http.NoBody {
		a.r.Body = http.MaxBytesReader(a.w, a.r.Body, limit)
	}
	site, err := a.site()
	if err != nil {
		return err
	}
	ctx := formats.WithSite(a.r.Context(), site)
	ctx = formats.WithAccounts(ctx, &accounts{a.s, a.x, a.target.Repository})
	if a.handle == nil {
		return a.guest.(formats.Caller).Call(a.w, a.r.WithContext(ctx), op, nil)
	}
	return a.handle.Call(a.w, a.r.WithContext(ctx), op)
}

// uncached says of what is read that the next answer may be another.
func (a *artifact) uncached() {
	if a.r.Method == http.MethodGet || a.r.Method == http.MethodHead {
		content.Uncached(a.w.Header(), a.x.Credentials())
	}
}

// limit returns the longest body in bytes, and refuses one that announces more.
func (a *artifact) limit() (int64, error) {
	limit := a.s.Settings().MaxArtifactBytes
	if a.r.ContentLength > limit {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are possible", formats.ErrTooLarge, a.r.ContentLength, limit)
	}
	return limit, nil
}

// created answers with the artifact that was made.
func (a *artifact) created(rec formats.Record) error {
	body, err := json.Marshal(rest.NewArtifact(rec, ""))
	if err != nil {
		return fmt.Errorf("write the artifact %s: %w", rec.Key(), err)
	}
	path := rec.Path
	if path == "" {
		path = rec.Key()
	}
	h := a.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Location", location(a.x.Base(), a.target.Repository, path))
	if tag := content.ETag(rec.Sums); tag != "" {
		h.Set("Etag", tag)
		h.Set("X-Blob-Id", content.BlobID(rec.Blob, strings.Trim(tag, `"`)))
	}
	for _, algorithm := range rec.Sums.Algorithms() {
		h.Set(checksumHeaders[algorithm], rec.Sums.Hex(algorithm))
	}
	a.w.WriteHeader(http.StatusCreated)
	a.w.Write(body) //nolint:errcheck // the client went away; what it sent is stored
	return nil
}

var checksumHeaders = map[digest.Algorithm]string{
	digest.BLAKE3: "X-Checksum-Blake3", digest.SHA256: "X-Checksum-Sha256", digest.SHA512: "X-Checksum-Sha512",
	digest.SHA1: "X-Checksum-Sha1", digest.MD5: "X-Checksum-Md5",
}

func (a *artifact) remove(op formats.Op) error {
	if err := a.handle.Delete(a.r.Context(), op, a.precondition()); err != nil {
		return err
	}
	a.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *artifact) precondition() repo.Precondition {
	return repo.Precondition{
		IfMatch:     strings.Join(a.r.Header["If-Match"], ", "),
		IfNoneMatch: strings.Join(a.r.Header["If-None-Match"], ", "),
	}
}
