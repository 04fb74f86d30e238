package cargo

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"

	"granary/formats"
)

// config is the config.json of a registry.
type config struct {
	Download     string `json:"dl"`
	API          string `json:"api,omitempty"`
	AuthRequired bool   `json:"auth-required,omitempty"`
}

// Call answers what is neither file nor index.
func (f *Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	switch op.Label {
	case labelConfig:
		site := formats.SiteOf(r.Context())
		return answer(w, r, http.StatusOK, config{Download: site.URL + "/" + apiDir, API: site.URL, AuthRequired: !site.Public})
	case labelMe:
		return me(w, r)
	case labelGit:
		return gitIndex(w, r)
	case labelOwners:
		return owners(w, r, op, view)
	case labelSearch:
		return search(w, r, view)
	}
	return fmt.Errorf("%s: %w", op.Label, errors.ErrUnsupported)
}

// answer writes a value as JSON.
func answer(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", typeJSON)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) //nolint:errcheck // the client went away; the status has been sent
	}
	return nil
}

// Fail tells Cargo what is wrong in its own form, which it shows.
func (*Format) Fail(w http.ResponseWriter, r *http.Request, status int, message string) bool {
	return answer(w, r, status, failure(message)) == nil
}

// Speaks knows Cargo, which says "cargo/1.84.0", or "cargo 1.68.0" in old versions.
func (*Format) Speaks(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "cargo") }

func failure(message string) any {
	type detail struct {
		Detail string `json:"detail"`
	}
	return struct {
		Errors []detail `json:"errors"`
	}{[]detail{{message}}}
}

// Answer says that a write succeeded in the words that Cargo looks for.
func (*Format) Answer(w http.ResponseWriter, r *http.Request, op formats.Op, _ []formats.Record) bool {
	var body any
	switch op.Label {
	case labelPublish:
		type warnings struct {
			Categories []string `json:"invalid_categories"`
			Badges     []string `json:"invalid_badges"`
			Other      []string `json:"other"`
		}
		body = map[string]any{"warnings": warnings{[]string{}, []string{}, []string{}}}
	case labelAdd:
		body = map[string]any{"ok": true, "msg": "owners of crate " + op.Path + " added; what they may do is decided by roles"}
	case labelRemove:
		body = map[string]any{"ok": true, "msg": "owners of crate " + op.Path + " removed"}
	default:
		body = map[string]any{"ok": true}
	}
	return answer(w, r, http.StatusOK, body) == nil
}

// gitIndex says what to write instead.
func gitIndex(w http.ResponseWriter, r *http.Request) error {
	return answer(w, r, http.StatusNotImplemented, failure(
		"this registry has no Git index; write index = \"sparse+"+formats.SiteOf(r.Context()).URL+"/\", with a Cargo of 1.68 or later"))
}

// me is where cargo login sends people.
func me(w http.ResponseWriter, r *http.Request) error {
	site := html.EscapeString(formats.SiteOf(r.Context()).URL)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	// An error here is the client's going away: the status has been sent.
	io.WriteString(w, `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>cargo login</title></head><body>`+ //nolint:errcheck // see above
		`<h1>cargo login</h1><p>This registry takes an API token of yours. Give it to <code>cargo login</code>, with in <code>.cargo/config.toml</code>:</p>`+
		`<pre>[registries.NAME]
index = "sparse+`+site+`/"
credential-provider = ["cargo:token"]</pre><p><code>cargo login --registry NAME</code></p></body></html>`)
	return nil
}

// owners lists who was named an owner.
func owners(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	type user struct {
		ID    int    `json:"id"`
		Login string `json:"login"`
	}
	users, known := []user{}, false
	for rec, err := range view.Records(r.Context(), op.Scope) {
		if err != nil {
			return err
		}
		if rec.Name != op.Name {
			continue
		}
		c, err := readWhole(rec)
		if err != nil {
			return err
		}
		known = true
		for i, o := range c.Owners {
			users = append(users, user{i + 1, o})
		}
	}
	if !known {
		return fmt.Errorf("crate %s: %w", op.Path, formats.ErrNotFound)
	}
	return answer(w, r, http.StatusOK, map[string]any{"users": users})
}

// found is a crate in the answer to a search.
type found struct {
	Name        string `json:"name"`
	Max         string `json:"max_version"`
	Description string `json:"description"`
}

// Page sizes of a search.
const (
	perPage    = 10
	maxPerPage = 100
)

// search looks for the text in the names of crates. A cache finds what it has
// fetched.
func search(w http.ResponseWriter, r *http.Request, view formats.View) error {
	q := r.URL.Query()
	size, page := number(q.Get("per_page"), perPage), number(q.Get("page"), 1)
	size = min(size, maxPerPage)
	text := canonical(strings.TrimSpace(q.Get("q")))
	crates, total := []found{}, 0
	for e, err := range view.Dir(r.Context(), cratesDir) {
		if err != nil {
			return err
		}
		if !e.Dir || !strings.Contains(canonical(e.Name), text) {
			continue
		}
		if total++; total <= (page-1)*size || len(crates) == size {
			continue
		}
		c, ok, err := describe(r, view, e.Name)
		if err != nil {
			return err
		}
		if !ok {
			total--
			continue
		}
		crates = append(crates, c)
	}
	return answer(w, r, http.StatusOK, map[string]any{"crates": crates, "meta": map[string]int{"total": total}})
}

func number(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 1_000_000 {
		return n
	}
	return otherwise
}

// describe tells of a crate's greatest version, one that is not yanked if there
// is any.
func describe(r *http.Request, view formats.View, name string) (found, bool, error) {
	versions, files, err := collect(view.Records(r.Context(), scopeOf(name)))
	if errors.Is(err, formats.ErrNotFound) || err == nil && len(versions) == 0 {
		return found{}, false, nil
	}
	if err != nil {
		return found{}, false, err
	}
	best := versions[len(versions)-1]
	for _, v := range versions {
		if !v.Yanked {
			best = v
		}
	}
	c := found{Name: best.Name, Max: best.Version}
	var meta fileMeta
	if json.Unmarshal(files[fileName(best.Name, best.Version)].Meta, &meta) == nil {
		c.Description = meta.Description
	}
	return c, true, nil
}
