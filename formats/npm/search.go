package npm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"granary/formats"
)

// Limits of a search.
const (
	searchSize = 20  // results where the client does not say
	searchMost = 250 // results of one answer
)

// callSearch answers from the list of packages that are published here, and
// with what the upstream finds behind these.
func callSearch(w http.ResponseWriter, r *http.Request, view formats.View) error {
	q := r.URL.Query()
	size, err := positive(q.Get("size"), searchSize)
	if err != nil {
		return err
	}
	from, err := positive(q.Get("from"), 0)
	if err != nil {
		return err
	}
	size = min(size, searchMost)
	words := strings.Fields(strings.ToLower(q.Get("text")))
	var found []string
	total := 0
	for rec, err := range view.Records(r.Context(), listScope) {
		if err != nil {
			return err
		}
		name := listed(rec.Name)
		var l listedMeta
		if json.Unmarshal(rec.Meta, &l) != nil || !matches(words, name, l) {
			continue
		}
		if total++; total > from && len(found) < size {
			found = append(found, name)
		}
	}
	objects := []any{}
	for _, name := range found {
		o, err := searchResult(r.Context(), name, view)
		if errors.Is(err, formats.ErrNotFound) {
			total-- // its versions were removed one by one
			continue
		}
		if err != nil {
			return err
		}
		objects = append(objects, o)
	}
	theirs, n, err := searchUpstream(r, view, max(from-total, 0), size-len(objects))
	// What is here is found while the upstream is down, too; that nothing was
	// found can't be said then.
	if err != nil && (total == 0 || !errors.Is(err, formats.ErrUpstream)) {
		return err
	}
	for _, o := range theirs {
		objects = append(objects, o)
	}
	return reply(w, http.StatusOK, map[string]any{"objects": objects, "total": total + n, "time": ""})
}

func positive(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, formats.BadRequest("%q is no number of results", text)
	}
	return n, nil
}

// matches: each word is in the name, the description, or among the keywords.
func matches(words []string, name string, l listedMeta) bool {
	text := strings.ToLower(name + "\n" + l.Description + "\n" + strings.Join(l.Keywords, "\n"))
	for _, word := range words {
		if k, ok := strings.CutPrefix(word, "keywords:"); ok {
			word = k
		}
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// searchResult tells of the latest version of a package.
func searchResult(ctx context.Context, name string, view formats.View) (map[string]any, error) {
	p, err := collect(name, view.Records(ctx, name))
	if err != nil {
		return nil, err
	}
	if len(p.order) == 0 {
		return nil, fmt.Errorf("%s: %w", name, formats.ErrNotFound)
	}
	s := p.versions[p.tags["latest"]]
	pkg := manifest{}
	for _, key := range [...]string{"name", "version", "description", "keywords", "author", "license", "maintainers"} {
		if v := s.manifest[key]; v != nil {
			pkg[key] = v
		}
	}
	var author any
	if json.Unmarshal(pkg["author"], &author) == nil {
		if text, ok := author.(string); ok {
			if err := pkg.set("author", map[string]string{"name": text}); err != nil {
				return nil, err
			}
		}
	}
	if pkg["maintainers"] == nil {
		pkg["maintainers"] = json.RawMessage("[]")
	}
	for key, value := range map[string]any{"date": stamp(s.record.Time), "links": map[string]string{}, "publisher": map[string]string{"username": ""}} {
		if err := pkg.set(key, value); err != nil {
			return nil, err
		}
	}
	return map[string]any{
		"package": pkg, "searchScore": 1,
		"score": map[string]any{"final": 1, "detail": map[string]float64{"quality": 1, "popularity": 1, "maintenance": 1}},
	}, nil
}

// searchUpstream asks the upstream, if there is one, for what is still wanted.
func searchUpstream(r *http.Request, view formats.View, from, size int) ([]json.RawMessage, int, error) {
	q := r.URL.Query()
	q.Set("from", strconv.Itoa(from))
	q.Set("size", strconv.Itoa(max(size, 0)))
	data, err := asked(r, view, formats.Question{Method: http.MethodGet, Path: "-/v1/search", Query: q})
	if errors.Is(err, formats.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Objects []json.RawMessage `json:"objects"`
		Total   int               `json:"total"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, 0, fmt.Errorf("%w: search: %s", formats.ErrUpstream, err.Error())
	}
	return answer.Objects[:min(len(answer.Objects), max(size, 0))], max(answer.Total, 0), nil
}
