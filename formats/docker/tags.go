package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"granary/formats"
)

// maxPage is how many names are answered at once; clients follow the link.
const maxPage = 10_000

// page reads n and last of a listing; n is maxPage if it is not said.
func page(q url.Values) (n int, last string, err error) {
	if n = maxPage; q.Has("n") {
		v, err := strconv.ParseUint(q.Get("n"), 10, 31)
		if err != nil {
			return 0, "", bad(codePageInvalid, "n=%.100q is no number of entries", q.Get("n"))
		}
		n = min(int(v), maxPage)
	}
	return n, q.Get("last"), nil
}

// linkNext names the next page, RFC 8288.
func linkNext(w http.ResponseWriter, r *http.Request, q url.Values) {
	u := url.URL{Path: r.URL.Path, RawQuery: q.Encode()}
	w.Header().Set("Link", "<"+u.String()+`>; rel="next"`)
}

func linkPage(w http.ResponseWriter, r *http.Request, n int, last string) {
	linkNext(w, r, url.Values{"n": {strconv.Itoa(n)}, "last": {last}})
}

// listTags answers with the tags of an image in lexical order.
func listTags(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	n, last, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	list := []string{}
	for rec, err := range formats.RecordsFrom(r.Context(), view, op.Scope, after(last)) {
		if errors.Is(err, formats.ErrNotFound) {
			return &formats.Coded{Code: codeNameUnknown, Err: err}
		}
		if err != nil {
			return err
		}
		if len(list) == n {
			if n > 0 {
				linkPage(w, r, n, list[n-1])
			}
			break
		}
		list = append(list, rec.Name)
	}
	if len(list) == 0 {
		image, _ := imageOf(op.Scope, tags)
		if err := exists(r.Context(), view, image); err != nil {
			return err
		}
	}
	return writeJSON(w, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{clientName(r), list})
}

// clientName is the image's name as the client says it.
func clientName(r *http.Request) string {
	_, name, _ := strings.Cut(below(r, "/tags/list"), "/v2/")
	return name
}

// exists returns an error unless the image has a manifest.
func exists(ctx context.Context, view formats.View, image string) error {
	for _, err := range view.Records(ctx, formats.Join(image, manifests)) {
		return err
	}
	return &formats.Coded{Code: codeNameUnknown, Err: fmt.Errorf("image %s: %w", image, formats.ErrNotFound)}
}

// listImages answers with the names of the images in one repository.
func listImages(w http.ResponseWriter, r *http.Request, view formats.View) error {
	n, last, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	list := []string{}
	for name, err := range (Format{}).Packages(r.Context(), view, last) {
		if err != nil {
			return err
		}
		if len(list) == n {
			if n > 0 {
				linkPage(w, r, n, list[n-1])
			}
			break
		}
		list = append(list, name)
	}
	return writeJSON(w, "application/json", struct {
		Repositories []string `json:"repositories"`
	}{list})
}

// Packages yields the names of the images in lexical order, those behind last:
// the directories in which there are manifests.
func (Format) Packages(ctx context.Context, view formats.View, last string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		w := catalog{ctx: ctx, view: view, last: last, yield: yield}
		if last == "" && !w.image("") {
			return
		}
		w.below("")
	}
}

// PackageOf is the image that an operation is about.
func (Format) PackageOf(op formats.Op) string {
	switch op.Label {
	case labelCatalog:
		return ""
	case labelInvalid:
		t, _ := split(op.Path)
		return t.name
	case labelReferrers:
		return above(above(op.Scope))
	}
	return above(op.Scope)
}

// catalog walks the directories of a repository.
type catalog struct {
	ctx   context.Context //nolint:containedctx // of one walk
	view  formats.View
	last  string
	yield func(string, error) bool
}

// image yields a directory that is an image; false ends the walk.
func (c *catalog) image(dir string) bool {
	switch err := exists(c.ctx, c.view, dir); {
	case errors.Is(err, formats.ErrNotFound):
		return true
	case err != nil:
		c.yield("", err)
		return false
	}
	return c.yield(dir, nil)
}

// below walks the directories in dir. What lies in "a" comes after "a-b": a
// slash sorts behind a dash, so that directories wait until no sibling comes
// before what is in them.
func (c *catalog) below(dir string) bool {
	var waiting []string
	enter := func(until string) bool {
		for len(waiting) > 0 {
			top := waiting[len(waiting)-1]
			if until != "" && top+"/" > until {
				return true
			}
			waiting = waiting[:len(waiting)-1]
			// Nothing in top is behind last if even its end is not.
			if top+"0" > c.last && !c.below(top) {
				return false
			}
		}
		return true
	}
	for e, err := range c.view.Dir(c.ctx, dir) {
		if err != nil {
			c.yield("", err)
			return false
		}
		if !e.Dir {
			break // files come last
		}
		name := formats.Join(dir, e.Name)
		if checkName(name) != nil {
			continue // a digest, below referrers
		}
		if !enter(name) || name > c.last && !c.image(name) {
			return false
		}
		waiting = append(waiting, name)
	}
	return enter("")
}

func writeJSON(w http.ResponseWriter, mediaType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body) //nolint:errcheck // the client went away
	return nil
}
