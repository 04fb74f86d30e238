package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Line is an entry of a listing.
type Line struct {
	Name     string
	Dir      bool
	Size     int64 // bytes, below a directory those of all its files
	Files    int64 // below a directory
	Modified time.Time
}

const listPage = 1000

type browse struct {
	Dirs []struct {
		Name         string    `json:"name"`
		Count        int64     `json:"artifact_count"`
		Bytes        int64     `json:"total_bytes"`
		LastModified time.Time `json:"last_modified_at"`
	} `json:"dirs"`
	Artifacts []struct {
		Path    string    `json:"path"`
		Size    int64     `json:"size"`
		Updated time.Time `json:"updated_at"`
	} `json:"artifacts"`
	Total int64 `json:"total"`
}

// List yields what lies in a directory, directories first.
func (c *Client) List(ctx context.Context, a Artifact) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for offset := int64(0); ; {
			page, err := c.page(ctx, a, offset)
			if err != nil {
				yield(Line{}, err)
				return
			}
			for _, d := range page.Dirs {
				if !yield(Line{Name: d.Name, Dir: true, Size: d.Bytes, Files: d.Count, Modified: d.LastModified}, nil) {
					return
				}
			}
			for _, f := range page.Artifacts {
				if !yield(Line{Name: f.Path, Size: f.Size, Modified: f.Updated}, nil) {
					return
				}
			}
			n := int64(len(page.Dirs) + len(page.Artifacts))
			if offset += n; n == 0 || offset >= page.Total {
				return
			}
		}
	}
}

func (c *Client) page(ctx context.Context, a Artifact, offset int64) (browse, error) {
	q := url.Values{"prefix": {a.Path}, "limit": {strconv.Itoa(listPage)}, "offset": {strconv.FormatInt(offset, 10)}}
	address := a.Server + "/api/v1/repositories/" + url.PathEscape(a.Repository) + "/artifacts?" + q.Encode()
	req, err := c.request(ctx, http.MethodGet, address, nil)
	if err != nil {
		return browse{}, err
	}
	resp, err := c.send(req)
	if err != nil {
		return browse{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	var b browse
	if err := json.NewDecoder(resp.Body).Decode(&b); err != nil {
		return browse{}, fmt.Errorf("listing of %s: %w", a.URL(), err)
	}
	return b, nil
}
