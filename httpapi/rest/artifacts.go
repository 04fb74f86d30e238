package rest

import (
	"context"
	"net/http"
	"net/url"
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

// open opens a repository for reading.
func (a *api) open(ctx context.Context, x *exchange.Exchange, escaped string) (*repo.Handle, error) {
	name, err := segment(escaped)
	if err != nil {
		return nil, err
	}
	if err := x.Authorise(formats.VerbRead, name); err != nil {
		return nil, err
	}
	return a.Repositories.Open(ctx, name, x.Can)
}

func (a *api) browse(ctx context.Context, x *exchange.Exchange, in *browsing) (*answer[Browse], error) {
	h, err := a.open(ctx, x, in.Repo)
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	limit, err := number("limit", query.Get("limit"), defaultLimit, 1)
	if err != nil {
		return nil, err
	}
	limit = min(limit, maxLimit)
	dir, _, err := requestpath.Clean(query.Get("prefix"))
	if err != nil {
		return nil, invalid("prefix", "%v", err)
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
	for _, e := range page.Entries {
		if e.Dir || e.File == nil {
			out.Dirs = append(out.Dirs, Directory{e.Name, e.Count, e.Size, Timestamp(e.Time), Timestamp(e.Time)})
			continue
		}
		out.Artifacts = append(out.Artifacts, NewArtifact(*e.File, e.Name))
	}
	return &answer[Browse]{out}, nil
}

func find(ctx context.Context, h *repo.Handle, q, dir, cursor string, limit int) (*answer[Browse], error) {
	found, err := h.Search(ctx, q, dir, cursor, limit)
	if err != nil {
		return nil, err
	}
	out := Browse{Dirs: []Directory{}, Artifacts: make([]Artifact, 0, len(found.Records)), NextCursor: found.Next, Limit: limit}
	for _, rec := range found.Records {
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
