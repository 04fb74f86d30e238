package raw

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Entries on one page of a listing.
const (
	defaultLimit = 1000
	maxLimit     = 10000
)

// listing is what a request asks of a directory.
type listing struct {
	dir         string
	json, deep  bool
	limit       int
	after, base string // base leads from the page's address to the directory
}

func parseListing(r *http.Request, dir string) (listing, error) {
	q := r.URL.Query()
	l := listing{dir: dir, json: q.Has("list"), deep: flag(q, "deep"), limit: defaultLimit, after: q.Get("after")}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return l, formats.BadRequest("limit must be a number from 1 to %d", maxLimit)
		}
		l.limit = n
	}
	if l.after != "" {
		if err := formats.CheckPath(strings.TrimSuffix(l.after, "/")); err != nil {
			return l, fmt.Errorf("after: %w", err)
		}
	}
	l.base = "./"
	if p := r.URL.EscapedPath(); !strings.HasSuffix(p, "/") {
		// The root without its slash: links are relative to what is above it.
		l.base = "./" + path.Base(p) + "/"
	}
	return l, nil
}

// flag is true for "?deep", "?deep=1" and "?deep=true".
func flag(q url.Values, name string) bool {
	v := q.Get(name)
	return q.Has(name) && v != "0" && v != "false"
}

// printDirectory writes one page of a directory as HTML, or with ?list as JSON.
// A directory without files does not exist, but a repository's root does.
func printDirectory(w http.ResponseWriter, r *http.Request, dir string, view formats.View) error {
	l, err := parseListing(r, dir)
	if err != nil {
		return err
	}
	list := shallow
	if l.deep {
		list = deep
	}
	p, err := list(r.Context(), view, dir, l.after, l.limit)
	if err != nil {
		return err
	}
	if len(p.entries) == 0 && p.next == "" && l.after == "" && dir != "" {
		return fmt.Errorf("directory %s: %w", dir, formats.ErrNotFound)
	}
	var body bytes.Buffer
	contentType := "application/json"
	if l.json {
		err = encode(&body, l, p)
	} else {
		contentType = "text/html; charset=utf-8"
		err = directoryPage.Execute(&body, l.html(p))
	}
	if err != nil {
		return fmt.Errorf("print directory %s: %w", dir, err)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-downloads")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		body.WriteTo(w) //nolint:errcheck // the client went away; the status has been sent
	}
	return nil
}

// line is an entry of the JSON listing.
type line struct {
	Name         string            `json:"name"`
	Directory    bool              `json:"directory"`
	Size         int64             `json:"size"`            // of all files below, for a directory
	Count        int64             `json:"count,omitempty"` // of files below a directory
	LastModified *time.Time        `json:"last_modified,omitempty"`
	ContentType  string            `json:"content_type,omitempty"`
	Checksum     map[string]string `json:"checksum,omitempty"`
}

func encode(body *bytes.Buffer, l listing, p page) error {
	doc := struct {
		Path    string `json:"path"`
		Entries []line `json:"entries"`
		Next    string `json:"next,omitempty"`
	}{Path: l.dir, Entries: make([]line, 0, len(p.entries)), Next: p.next}
	for _, e := range p.entries {
		x := line{Name: e.Name, Directory: e.Dir, Size: e.Size, Count: e.Count}
		if t := e.Time.UTC(); !e.Time.IsZero() {
			x.LastModified = &t
		}
		if e.File != nil {
			x.ContentType, x.Checksum = e.File.Type, map[string]string{}
			for _, a := range e.File.Sums.Algorithms() {
				x.Checksum[string(a)] = e.File.Sums.Hex(a)
			}
		}
		doc.Entries = append(doc.Entries, x)
	}
	return json.NewEncoder(body).Encode(doc)
}

// row is an entry of the HTML listing.
type row struct {
	Href, Name, Time, Size, SHA256 string
}

type htmlPage struct {
	Title, Up, Next string
	Rows            []row
}

func (l listing) html(p page) htmlPage {
	out := htmlPage{Title: "/" + l.dir}
	if l.dir != "" {
		out.Title += "/"
		out.Up = l.base + "../"
	}
	for _, e := range p.entries {
		x := row{Href: l.base + escape(e.Cursor()), Name: e.Cursor(), Size: strconv.FormatInt(e.Size, 10)}
		if !e.Time.IsZero() {
			x.Time = e.Time.UTC().Format("2006-01-02 15:04:05")
		}
		if e.File != nil {
			x.SHA256 = e.File.Sums.Hex(digest.SHA256)
		}
		out.Rows = append(out.Rows, x)
	}
	if p.next != "" {
		q := url.Values{"after": {p.next}, "limit": {strconv.Itoa(l.limit)}}
		if l.deep {
			q.Set("deep", "1")
		}
		out.Next = l.base + "?" + q.Encode()
	}
	return out
}

// escape makes a path part of a relative reference. With the base before it no
// name is taken for a scheme, host or query.
func escape(p string) string {
	segs := strings.Split(p, "/")
	for i, s := range segs {
		segs[i] = url.PathEscape(s)
	}
	return strings.Join(segs, "/")
}

var directoryPage = template.Must(template.New("directory").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Index of {{.Title}}</title>
<style>body{font-family:sans-serif;margin:1.5em}td,th{padding:.1em 1em .1em 0;text-align:left}.n{text-align:right}</style>
</head>
<body>
<h1>Index of {{.Title}}</h1>
<table>
<tr><th>Name</th><th>Modified (UTC)</th><th class="n">Bytes</th></tr>
{{- with .Up}}
<tr><td><a href="{{.}}">../</a></td><td></td><td></td></tr>
{{- end}}
{{- range .Rows}}
<tr><td><a href="{{.Href}}"{{with .SHA256}} title="sha256 {{.}}"{{end}}>{{.Name}}</a></td><td>{{.Time}}</td><td class="n">{{.Size}}</td></tr>
{{- end}}
</table>
{{- with .Next}}
<p><a href="{{.}}" rel="next">More</a></p>
{{- end}}
</body>
</html>
`))
