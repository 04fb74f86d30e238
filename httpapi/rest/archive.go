package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"granary/formats"
	"granary/httpapi/archive"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/requestpath"
)

// walk is Walk without what may not be shown.
func (l *listing) walk(ctx context.Context, dir string) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for rec, err := range l.Walk(ctx, dir) {
			if err == nil && !l.shows(rec) {
				continue
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// archiving is the input of the download of a directory.
type archiving struct {
	Repo   string `path:"repo"`
	Prefix string `query:"prefix" doc:"A directory; empty, but present, is everything."`
	Format string `query:"format" doc:"tar, tar.gz, tar.xz or zip."`
}

// archive begins an archive once it is known that it will have something in
// it. What goes wrong later cuts the connection, so that nobody takes a part
// for the whole.
func (a *api) archive(ctx context.Context, x *exchange.Exchange, in *archiving) (*huma.StreamResponse, error) {
	h, err := a.open(ctx, x, in.Repo, in.Prefix)
	if err != nil {
		return nil, err
	}
	dir, kind, err := archiveQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull2(h.walk(ctx, dir))
	first, err, ok := next()
	if !ok {
		err = fmt.Errorf("nothing lies below %q: %w", dir, formats.ErrNotFound)
	}
	if err != nil {
		stop()
		return nil, err
	}
	name := path.Base(dir)
	if dir == "" {
		name = h.Config.Name
	}
	return &huma.StreamResponse{Body: func(huma.Context) {
		defer stop()
		header := x.Header()
		header.Set("Content-Type", kind.MediaType())
		header.Set("Content-Disposition", content.Disposition("attachment", name+"."+string(kind)))
		x.WriteHeader(http.StatusOK)
		if x.Request().Method == http.MethodHead {
			return
		}
		if err := pack(ctx, x, h, dir, kind, first, next); err != nil {
			a.note(x.Request(), fmt.Errorf("%w: archive of %s/%s: %w", content.ErrAborted, h.Config.Name, dir, err), fault.Of(err))
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

func archiveQuery(raw string) (dir string, kind archive.Kind, err error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return "", "", formats.BadRequest("the query can't be read")
	}
	if !query.Has("prefix") {
		return "", "", invalid("prefix", "is required")
	}
	if dir, _, err = requestpath.Clean(query.Get("prefix")); err != nil {
		return "", "", invalid("prefix", "%v", err)
	}
	if kind, err = archive.ParseKind(query.Get("format")); err != nil {
		return "", "", invalid("format", "must be one of tar, tar.gz, tar.xz, zip")
	}
	return dir, kind, nil
}

// pack writes all files. Names are relative to dir.
func pack(ctx context.Context, w io.Writer, h *listing, dir string, kind archive.Kind, rec formats.Record, next func() (formats.Record, error, bool)) error {
	out, err := archive.NewWriter(w, kind)
	if err != nil {
		return err
	}
	for more := true; more; {
		if err := packOne(ctx, out, h, dir, rec); err != nil {
			return err
		}
		var err error
		if rec, err, more = next(); err != nil {
			return err
		}
	}
	return out.Close()
}

func packOne(ctx context.Context, out *archive.Writer, h *listing, dir string, rec formats.Record) error {
	c, err := h.Content(ctx, rec)
	if errors.Is(err, formats.ErrBlocked) {
		return nil // a policy hides it, from archives too
	}
	if err != nil {
		return err
	}
	src, err := c.Open(ctx, 0, -1)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // a reader
	name := rec.Path
	if name == "" {
		name = rec.Key()
	}
	if dir != "" {
		name = strings.TrimPrefix(name, dir+"/")
	}
	return out.Add(name, c.Size, c.Time, src)
}
