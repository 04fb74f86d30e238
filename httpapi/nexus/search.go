package nexus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/repo"
)

const (
	// steps is how many artifacts one page looks at; a page that ends there
	// has a token to go on with.
	steps = 200_000
	// maxSorted is how many matches are sorted.
	maxSorted = 10_000
)

var errNoRepository = &fault.Fault{Status: http.StatusBadRequest, Code: fault.BadRequest, Message: "repository: is required"}

func (a *api) assets(x *exchange.Exchange, r *http.Request) error {
	return a.list(x, r, func(asset AssetXO) any { return asset })
}

func (a *api) components(x *exchange.Exchange, r *http.Request) error {
	return a.list(x, r, func(asset AssetXO) any { return newComponent(asset) })
}

// list writes a page while it is being found.
func (a *api) list(x *exchange.Exchange, r *http.Request, show func(AssetXO) any) error {
	c, h, err := a.search(x, r)
	if errors.Is(err, errNoRepository) {
		return answer(x, r, http.StatusBadRequest, PageAssetXO{Items: []AssetXO{}})
	}
	if err != nil {
		return err
	}
	p := page{x: x, head: r.Method == http.MethodHead}
	for m, err := range matches(r.Context(), h, c) {
		if err != nil {
			return p.broken(err)
		}
		if m.Record.Name == "" {
			p.next = m.Next // looked at as much as one page may
			break
		}
		if p.n == c.limit {
			p.next = p.last
			break
		}
		if err := p.add(show(newAsset(x.Base(), c.repository, h.Format.Name(), m.Record)), m.Next); err != nil {
			return p.broken(err)
		}
	}
	return p.end()
}

// search reads the query and opens its repository.
func (a *api) search(x *exchange.Exchange, r *http.Request) (criteria, *repo.Handle, error) {
	c, err := parse(r)
	if err != nil {
		return c, nil, err
	}
	if c.repository == "" {
		return c, nil, errNoRepository
	}
	h, err := a.open(x, formats.VerbRead, c.repository)
	if err != nil {
		return c, nil, err
	}
	return c, h, c.refuse(h.Format)
}

// download goes to the first asset that is found.
func (a *api) download(x *exchange.Exchange, r *http.Request) error {
	c, h, err := a.search(x, r)
	if err != nil {
		return err
	}
	for m, err := range matches(r.Context(), h, c) {
		if err != nil {
			return err
		}
		if m.Record.Name == "" {
			continue
		}
		x.Header().Set("Location", newAsset(x.Base(), c.repository, h.Format.Name(), m.Record).DownloadURL)
		x.WriteHeader(http.StatusFound)
		return nil
	}
	return &fault.Fault{Status: http.StatusNotFound, Code: fault.NotFound, Message: "no matching assets"}
}

// matches yields what the criteria ask for, from their token on. One without a
// name says where to go on after as many steps as one request may take.
func matches(ctx context.Context, h *repo.Handle, c criteria) iter.Seq2[repo.Located, error] {
	return func(yield func(repo.Located, error) bool) {
		cursor, ordered, err := parseToken(c.token)
		if err != nil {
			yield(repo.Located{}, err)
			return
		}
		if c.sort != "" && (c.token == "" || ordered >= 0) {
			if done := yieldSorted(ctx, h, c, max(ordered, 0), yield); done {
				return
			}
		}
		n := 0
		for l, err := range h.WalkFrom(ctx, c.directory(), cursor) {
			if n++; n > steps {
				yield(repo.Located{Next: walkToken(cursor)}, nil)
				return
			}
			cursor = l.Next
			if err == nil && !c.matchRecord(h.Format, l.Record) {
				continue
			}
			l.Next = walkToken(l.Next)
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// Tokens say where a walk, or a sorted list, goes on.
const walkMark, sortMark = "w", "s"

func walkToken(cursor string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(walkMark + cursor))
}

func sortToken(n int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(sortMark + strconv.Itoa(n)))
}

// parseToken returns a place in a walk, or one in a sorted list that is not
// negative.
func parseToken(s string) (cursor string, sorted int, err error) {
	if s == "" {
		return "", -1, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		if cursor, ok := strings.CutPrefix(string(b), walkMark); ok {
			return cursor, -1, nil
		}
		if number, ok := strings.CutPrefix(string(b), sortMark); ok {
			if n, err := strconv.Atoi(number); err == nil && n >= 0 {
				return "", n, nil
			}
		}
	}
	return "", -1, formats.BadRequest("continuationToken: was not given out here")
}

// page writes items as they come. An error before the first one is answered as
// ever, one after it cuts the connection.
type page struct {
	x          *exchange.Exchange
	head       bool
	n          int
	last, next string
}

func (p *page) begin() {
	p.x.Header().Set("Content-Type", "application/json")
	p.x.WriteHeader(http.StatusOK)
}

func (p *page) add(item any, next string) error {
	b, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("write an item: %w", err)
	}
	before := ","
	if p.n == 0 {
		p.begin()
		before = `{"items":[`
	}
	p.n, p.last = p.n+1, next
	if p.head {
		return nil
	}
	if _, err := p.x.WriteString(before); err != nil {
		return fmt.Errorf("%w: %w", content.ErrAborted, err)
	}
	if _, err := p.x.Write(b); err != nil {
		return fmt.Errorf("%w: %w", content.ErrAborted, err)
	}
	return nil
}

func (p *page) broken(err error) error {
	if p.n == 0 {
		return err
	}
	return fmt.Errorf("%w: list assets: %w", content.ErrAborted, err)
}

func (p *page) end() error {
	var token *string
	if p.next != "" {
		token = &p.next
	}
	b, err := json.Marshal(token)
	if err != nil {
		return fmt.Errorf("write a token: %w", err)
	}
	begin := ""
	if p.n == 0 {
		p.begin()
		begin = `{"items":[`
	}
	if !p.head {
		p.x.WriteString(begin + `],"continuationToken":` + string(b) + "}") //nolint:errcheck // the client went away; the status has been sent
	}
	return nil
}
