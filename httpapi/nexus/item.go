package nexus

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
	"granary/httpapi/exchange"
)

// AssetXO is one file.
type AssetXO struct {
	DownloadURL  string            `json:"downloadUrl"`
	Path         string            `json:"path"`
	ID           string            `json:"id"`
	Repository   string            `json:"repository"`
	Format       string            `json:"format"`
	Checksum     map[string]string `json:"checksum" doc:"In hex, by algorithm: blake3, sha256, and what else is known."`
	ContentType  string            `json:"contentType"`
	LastModified time.Time         `json:"lastModified"`
	FileSize     int64             `json:"fileSize"`
}

// ComponentXO is a file with what belongs to it.
type ComponentXO struct {
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Format     string    `json:"format"`
	Name       string    `json:"name"`
	Version    *string   `json:"version"`
	Assets     []AssetXO `json:"assets" nullable:"false"`
}

// PageAssetXO and PageComponentXO are the shapes of listings; these are written
// while they are read and never held whole.
type PageAssetXO struct {
	Items             []AssetXO `json:"items" nullable:"false"`
	ContinuationToken *string   `json:"continuationToken"`
}

// PageComponentXO is a page of components.
type PageComponentXO struct {
	Items             []ComponentXO `json:"items" nullable:"false"`
	ContinuationToken *string       `json:"continuationToken"`
}

// newAsset describes a record of a repository. base is the server's URL.
func newAsset(base, repository, format string, rec formats.Record) AssetXO {
	path := pathOf(rec)
	u := url.URL{Path: "/repository/" + repository + "/" + path}
	a := AssetXO{
		DownloadURL: base + u.EscapedPath(), Path: path, ID: id{repository, rec.Scope, rec.Name}.String(), Repository: repository, Format: format,
		Checksum: map[string]string{}, ContentType: rec.Type, LastModified: rec.Time.UTC(), FileSize: rec.Size,
	}
	for _, algorithm := range digest.Algorithms {
		if h := rec.Sums.Hex(algorithm); h != "" {
			a.Checksum[string(algorithm)] = h
		}
	}
	return a
}

func newComponent(a AssetXO) ComponentXO {
	return ComponentXO{ID: a.ID, Repository: a.Repository, Format: a.Format, Name: a.Path, Assets: []AssetXO{a}}
}

// pathOf is where clients fetch the file.
func pathOf(rec formats.Record) string {
	if rec.Path != "" {
		return rec.Path
	}
	return rec.Key()
}

// id names a record in a repository.
type id struct{ repository, scope, name string }

// String is URL-safe base64. Neither a repository's name nor a scope has a
// double slash.
func (i id) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(i.repository + ":" + i.scope + "//" + i.name))
}

func parseID(s string) (id, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return id{}, false
	}
	repository, key, ok := strings.Cut(string(b), ":")
	if !ok || repository == "" {
		return id{}, false
	}
	scope, name, ok := strings.Cut(key, "//")
	if !ok || formats.CheckPath(formats.Join(scope, name)) != nil {
		return id{}, false
	}
	return id{repository, scope, name}, true
}

// answer writes a JSON body.
func answer(x *exchange.Exchange, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %T: %w", v, err)
	}
	h := x.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(status)
	if r.Method != http.MethodHead {
		x.Write(body) //nolint:errcheck // the client went away; the status has been sent
	}
	return nil
}
