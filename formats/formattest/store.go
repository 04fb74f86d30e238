package formattest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
)

// Store is a hosted repository of one format in memory.
type Store struct {
	// Overwrite is the conflict policy: other bytes replace what is there.
	Overwrite bool
	// Set is what the repository is set to.
	Set formats.Settings
	// Now dates records; nil is a clock that stands still.
	Now func() time.Time

	tb     testing.TB
	format formats.Format
	mu     sync.Mutex      // guards files
	files  map[string]file // by key
}

type file struct {
	rec  formats.Record
	data []byte
}

// NewStore returns an empty repository.
func NewStore(tb testing.TB, f formats.Format) *Store {
	return &Store{tb: tb, format: f, files: map[string]file{}}
}

var _ formats.View = (*Store)(nil)

// Epoch is the time of a store without a clock.
var Epoch = time.Date(2026, 11, 22, 10, 20, 30, 0, time.UTC)

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return Epoch
}

// pointer tells whether a record of that name has no bytes of its own.
func (s *Store) pointer(name string) bool {
	_, indexer := s.format.(formats.Indexer)
	return indexer && strings.HasPrefix(path.Base(name), ":")
}

func (s *Store) record(scope, name string) (formats.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[formats.Join(scope, name)]
	if !ok || f.rec.Scope != scope {
		return formats.Record{}, fmt.Errorf("%s: %w", formats.Join(scope, name), formats.ErrNotFound)
	}
	return f.rec, nil
}

// Keys returns the keys of all records in order.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.files))
	for k := range s.files {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Stamp changes with the scope's records.
func (s *Store) Stamp(ctx context.Context, scope string) (string, error) {
	var b strings.Builder
	for r := range s.Records(ctx, scope) {
		fmt.Fprintf(&b, "%s %x %x\n", r.Name, r.Sums.BLAKE3, r.Meta)
	}
	return b.String(), nil
}

// Records yields a scope in order of the names.
func (s *Store) Records(_ context.Context, scope string) iter.Seq2[formats.Record, error] {
	s.mu.Lock()
	var recs []formats.Record
	for _, f := range s.files {
		if f.rec.Scope == scope {
			recs = append(recs, f.rec)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(recs, func(a, b formats.Record) int { return cmp.Compare(a.Name, b.Name) })
	return Seq(recs...)
}

// Seq yields records as they are given.
func Seq(recs ...formats.Record) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Open returns a stored file.
func (s *Store) Open(_ context.Context, op formats.Op) (*formats.Content, error) {
	if _, err := s.record(op.Scope, op.Name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	f := s.files[op.Key()]
	s.mu.Unlock()
	if s.pointer(op.Name) {
		return nil, fmt.Errorf("%s: %w", op.Key(), formats.ErrNotFound)
	}
	open := func(_ context.Context, offset, n int64) (io.ReadCloser, error) {
		b := f.data[min(offset, int64(len(f.data))):]
		if n >= 0 && n < int64(len(b)) {
			b = b[:n]
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	return &formats.Content{Record: f.rec, Open: open, Fixed: op.Fixed}, nil
}

// Dir lists a directory, directories first.
func (s *Store) Dir(_ context.Context, dir string) iter.Seq2[formats.Entry, error] {
	s.mu.Lock()
	dirs, files := map[string]formats.Entry{}, map[string]formats.Entry{}
	for key, f := range s.files {
		rest, ok := strings.CutPrefix(key, dir+"/")
		if dir == "" {
			rest, ok = key, true
		}
		name, _, below := strings.Cut(rest, "/")
		switch {
		case !ok || s.pointer(rest):
		case below:
			e := dirs[name]
			dirs[name] = formats.Entry{Name: name, Dir: true, Count: e.Count + 1, Size: e.Size + f.rec.Size, Time: f.rec.Time}
		default:
			files[name] = formats.Entry{Name: name, Size: f.rec.Size, Time: f.rec.Time, File: &f.rec}
		}
	}
	s.mu.Unlock()
	return func(yield func(formats.Entry, error) bool) {
		for _, m := range []map[string]formats.Entry{dirs, files} {
			names := make([]string, 0, len(m))
			for n := range m {
				names = append(names, n)
			}
			slices.Sort(names)
			for _, n := range names {
				if !yield(m[n], nil) {
					return
				}
			}
		}
	}
}

// Answer is what a request was answered.
type Answer struct {
	Op      formats.Op
	Header  http.Header
	Body    []byte
	Records []formats.Record // of a write
}

// Do routes a request and serves it, without any of HTTP that the core does. A
// request without a route is ErrNotFound.
func (s *Store) Do(method, target string, header http.Header, body []byte) (*Answer, error) {
	s.tb.Helper()
	req := Request(s.tb, method, target, header)
	op, ok := s.format.Route(req)
	if !ok {
		return nil, fmt.Errorf("%s %s: no route: %w", method, target, formats.ErrNotFound)
	}
	ctx := s.tb.Context()
	a, err := s.do(ctx, op, req, target, body)
	if sub, ok := formats.Substitute(s.format, op, err); ok {
		a, err = s.do(ctx, sub, req, target, body)
	}
	return a, err
}

func (s *Store) do(ctx context.Context, op formats.Op, req formats.Req, target string, body []byte) (*Answer, error) {
	a := &Answer{Op: op, Header: http.Header{}}
	switch op.Kind {
	case formats.File:
		c, err := s.Open(ctx, op)
		if err != nil {
			return nil, err
		}
		a.Header.Set("Content-Type", c.Type)
		r, err := c.Open(ctx, 0, -1)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		a.Body, err = io.ReadAll(r)
		return a, err
	case formats.Doc:
		doc, err := Render(ctx, s.format, op, s.Records(ctx, op.Scope))
		if err != nil {
			return nil, err
		}
		a.Header.Set("Content-Type", doc.Type)
		a.Body = doc.Body
		return a, nil
	case formats.Call:
		w := httptest.NewRecorder()
		r := httptest.NewRequest(req.Method, "/repository/r/"+strings.TrimPrefix(target, "/"), bytes.NewReader(body))
		r.Header = req.Header
		if err := s.format.(formats.Caller).Call(w, r.WithContext(formats.WithSite(ctx, formats.Site{URL: strings.TrimSuffix(Base, "/"), Path: req.Path})), op, s); err != nil {
			return nil, err
		}
		a.Header, a.Body = w.Header(), w.Body.Bytes()
		return a, nil
	}
	tx := NewTx(s.tb, s)
	var up *formats.Upload
	if op.Kind == formats.Write {
		up = &formats.Upload{Header: req.Header, Query: req.Query, Body: bytes.NewReader(body), Size: int64(len(body)), Repository: "r"}
	}
	if err := s.format.Accept(ctx, op, up, tx); err != nil {
		if len(tx.Puts)+len(tx.Deletes) > 0 {
			s.tb.Errorf("Accept of %s failed after its first Put or Delete", target)
		}
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	a.Records = tx.Puts
	return a, nil
}
