package rest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"granary/digest"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/requestpath"
	"granary/repo"
)

// Artifact is a file as clients see it.
type Artifact struct {
	ID             string    `json:"id"`
	Path           string    `json:"path" doc:"Below the repository; relative to the prefix when browsing."`
	Size           int64     `json:"size"`
	ContentType    string    `json:"content_type"`
	BlobID         string    `json:"blob_id"`
	ContentHash    string    `json:"content_hash" doc:"BLAKE3 in hex."`
	ETag           string    `json:"etag"`
	CreatedAt      Timestamp `json:"created_at"`
	UpdatedAt      Timestamp `json:"updated_at"`
	LastAccessedAt Timestamp `json:"last_accessed_at"`
}

// NewArtifact describes a record. name is what Path says, "" for the whole
// path.
func NewArtifact(rec formats.Record, name string) Artifact {
	whole := rec.Path
	if whole == "" {
		whole = rec.Key()
	}
	if name == "" {
		name = whole
	}
	hash := rec.Sums.Hex(digest.BLAKE3)
	return Artifact{
		ID: whole, Path: name, Size: rec.Size, ContentType: rec.Type, BlobID: content.BlobID(rec.Blob, hash), ContentHash: hash,
		ETag: content.ETag(rec.Sums), CreatedAt: Timestamp(rec.Created), UpdatedAt: Timestamp(rec.Time),
		// Reading is noted in batches elsewhere; no read is older than this.
		LastAccessedAt: Timestamp(rec.Time),
	}
}

// Directory is a line of a listing.
type Directory struct {
	Name           string    `json:"name"`
	ArtifactCount  int64     `json:"artifact_count"`
	TotalBytes     int64     `json:"total_bytes"`
	LastModifiedAt Timestamp `json:"last_modified_at"`
	LastAccessedAt Timestamp `json:"last_accessed_at"`
}

// Browse is a page of a listing or of what a search found.
type Browse struct {
	Dirs       []Directory `json:"dirs" nullable:"false"`
	Artifacts  []Artifact  `json:"artifacts" nullable:"false"`
	NextCursor string      `json:"next_cursor,omitempty"`
	Limit      int         `json:"limit,omitempty"`
	Total      *int64      `json:"total,omitempty"`
	Offset     *int        `json:"offset,omitempty"`
}

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 10_000
)

// browsing is the input of a listing. What can't be read is refused here, as
// what is wrong with any query is: 400.
type browsing struct {
	Repo   string `path:"repo"`
	Prefix string `query:"prefix" doc:"A directory; empty is the root."`
	Q      string `query:"q" doc:"Part of a path, in any case. Its presence, even empty, makes the request a search."`
	Limit  string `query:"limit" doc:"1 to 10000, by default 100."`
	Offset string `query:"offset" doc:"Lines to skip when browsing."`
	Cursor string `query:"cursor" doc:"Where a search goes on: next_cursor of the page before."`
}

func (a *api) artifacts() {
	const tag = "artifacts"
	register(a, operation{
		id: "browse-artifacts", method: http.MethodGet, path: "/repositories/{repo}/artifacts", summary: "List a directory, or search", tag: tag,
	}, a.browse)
	register(a, operation{
		id: "download-archive", method: http.MethodGet, path: "/repositories/{repo}/download-archive", tag: tag,
		summary: "Download a directory as tar, tar.gz, tar.xz or zip",
	}, a.archive)
}

// listing is a repository opened to be shown to a caller who may perhaps read a
// part of it only.
type listing struct {
	*repo.Handle
	name string
	x    *exchange.Exchange
}

// directory reads a prefix, which is one.
func directory(prefix string) (string, error) {
	dir, _, err := requestpath.Clean(prefix)
	switch {
	case err != nil:
		return "", invalid("prefix", "%v", err)
	case len(dir) > requestpath.MaxPath:
		return "", invalid("prefix", "has %d bytes, at most %d are allowed", len(dir), requestpath.MaxPath)
	}
	return dir, nil
}

// open opens a repository to show what is in a directory, of a group what is in
// those members that the caller may read there as a whole.
func (a *api) open(ctx context.Context, x *exchange.Exchange, escaped, dir string) (*listing, error) {
	name, err := segment(escaped)
	if err != nil {
		return nil, err
	}
	// What is wrong with the directory is told to who may read.
	clean, invalidDir := directory(dir)
	if err := x.AuthoriseSome(formats.VerbRead, name, clean); err != nil {
		return nil, err
	}
	if invalidDir != nil {
		return nil, invalidDir
	}
	h, err := a.Repositories.Open(ctx, name, x.CanBelow(clean))
	return &listing{h, name, x}, err
}

// whole tells whether all of a directory may be shown.
func (l *listing) whole(dir string) bool { return l.x.CanBelow(dir)(formats.VerbRead, l.name) }

// shows tells whether a file may be shown.
func (l *listing) shows(rec formats.Record) bool {
	path := rec.Path
	if path == "" {
		path = rec.Key()
	}
	return l.x.CanAt(path, false)(formats.VerbRead, l.name)
}

// trim removes from a page of a directory what may not be shown, and the
// numbers that would tell of it.
func (l *listing) trim(dir string, page *repo.Page) {
	page.Entries = slices.DeleteFunc(page.Entries, func(e formats.Entry) bool {
		if e.Dir || e.File == nil {
			return !l.x.CanSome(formats.VerbRead, l.name, formats.Join(dir, e.Name))
		}
		return !l.shows(*e.File)
	})
	for i := range page.Entries {
		if e := &page.Entries[i]; e.Dir && !l.whole(formats.Join(dir, e.Name)) {
			e.Count, e.Size = 0, 0
		}
	}
}

func (a *api) browse(ctx context.Context, x *exchange.Exchange, in *browsing) (*answer[Browse], error) {
	query, badQuery := url.ParseQuery(x.Request().URL.RawQuery)
	h, err := a.open(ctx, x, in.Repo, query.Get("prefix"))
	if err != nil {
		return nil, err
	}
	if badQuery != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	limit, err := number("limit", query.Get("limit"), defaultLimit, 1)
	if err != nil {
		return nil, err
	}
	limit = min(limit, maxLimit)
	dir, _, err := requestpath.Clean(query.Get("prefix"))
	if err != nil {
		return nil, err
	}
	if query.Has("q") {
		return find(ctx, h, query.Get("q"), dir, query.Get("cursor"), limit)
	}
	offset, err := number("offset", query.Get("offset"), 0, 0)
	if err != nil {
		return nil, err
	}
	page, err := h.Browse(ctx, dir, offset, limit)
	if err != nil {
		return nil, err
	}
	out := Browse{Dirs: []Directory{}, Artifacts: []Artifact{}, Limit: limit, Total: &page.Total, Offset: &offset}
	if !h.whole(dir) {
		h.trim(dir, &page)
		out.Total = nil
	}
	for _, e := range page.Entries {
		if e.Dir || e.File == nil {
			out.Dirs = append(out.Dirs, Directory{e.Name, e.Count, e.Size, Timestamp(e.Time), Timestamp(e.Time)})
			continue
		}
		out.Artifacts = append(out.Artifacts, NewArtifact(*e.File, e.Name))
	}
	return &answer[Browse]{out}, nil
}

func find(ctx context.Context, h *listing, q, dir, cursor string, limit int) (*answer[Browse], error) {
	found, err := h.Search(ctx, q, dir, cursor, limit)
	if err != nil {
		return nil, err
	}
	out := Browse{Dirs: []Directory{}, Artifacts: make([]Artifact, 0, len(found.Records)), NextCursor: found.Next, Limit: limit}
	for _, rec := range found.Records {
		if !h.shows(rec) {
			continue
		}
		out.Artifacts = append(out.Artifacts, NewArtifact(rec, ""))
	}
	return &answer[Browse]{out}, nil
}

// number reads a query parameter that is at least least.
func number(name, s string, def, least int) (int, error) {
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > 1<<31-1 {
		return 0, invalid(name, "must be a number of at least %d", least)
	}
	return n, nil
}
