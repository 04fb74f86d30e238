package rest

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"granary/blob"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/requestpath"
)

// StoreListing is a directory of a store.
type StoreListing struct {
	Path    string       `json:"path"`
	Entries []StoreEntry `json:"entries" nullable:"false"`
}

// StoreEntry is a line of it; Size is of a blob.
type StoreEntry struct {
	Name  string `json:"name"`
	IsDir bool   `json:"is_dir"`
	Size  *int64 `json:"size,omitempty"`
}

type storePath struct {
	Name string `path:"name"`
	Path string `query:"path" doc:"A directory below the store's root; empty is the root."`
}

// maxStoreEntries is how many blobs of one directory are listed.
const maxStoreEntries = 10_000

func (a *api) browseStore(ctx context.Context, x *exchange.Exchange, in *storePath) (*answer[StoreListing], error) {
	name, err := a.admitted(x, &named{in.Name})
	if err != nil {
		return nil, err
	}
	s, err := a.Registry.Store(ctx, name)
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	// Only what ids can make is ever asked of the store, whatever path says.
	dir, _, err := requestpath.Clean(query.Get("path"))
	if err != nil {
		return nil, invalid("path", "%v", err)
	}
	b, err := a.Repositories.Store(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	entries, err := listStore(ctx, b, dir)
	if err != nil {
		return nil, fmt.Errorf("list store %s: %w", name, err)
	}
	if len(entries) == 0 && dir != "" {
		return nil, fmt.Errorf("%s in store %s: %w", dir, name, formats.ErrNotFound)
	}
	return &answer[StoreListing]{StoreListing{Path: dir, Entries: entries}}, nil
}

// idLetters are those of the lower-case directories that blobs lie in; see
// [blob.ID.Path].
const idLetters = "0123456789abcdefghjkmnpqrstvwxyz"

// listStore lists a directory of the layout aa/bb/<id>.
func listStore(ctx context.Context, s blob.Store, dir string) ([]StoreEntry, error) {
	switch strings.Count(dir, "/") {
	case 0:
		if dir != "" {
			dir += "/"
		}
		return listDirectories(ctx, s, dir)
	case 1:
		return listBlobs(ctx, s, dir+"/")
	}
	return nil, nil
}

// listDirectories finds which of the possible directories have a blob: a store
// knows blobs and no directories.
func listDirectories(ctx context.Context, s blob.Store, prefix string) ([]StoreEntry, error) {
	const n = len(idLetters)
	var found [n * n]bool
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			for j := range n {
				for _, err := range s.List(ctx, prefix+idLetters[i:i+1]+idLetters[j:j+1]+"/") {
					if err != nil {
						return err
					}
					found[i*n+j] = true
					break
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	entries := []StoreEntry{}
	for k, ok := range found {
		if ok {
			entries = append(entries, StoreEntry{Name: idLetters[k/n:k/n+1] + idLetters[k%n:k%n+1], IsDir: true})
		}
	}
	return entries, nil
}

func listBlobs(ctx context.Context, s blob.Store, prefix string) ([]StoreEntry, error) {
	entries := []StoreEntry{}
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if len(entries) == maxStoreEntries {
			break
		}
		entries = append(entries, StoreEntry{Name: path.Base(info.ID.Path()), Size: &info.Size})
	}
	return entries, nil
}
