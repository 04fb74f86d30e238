package repo_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// pointed keeps, beside each file, one record that points at the last.
type pointed struct{ path *string }

func (pointed) Name() string { return "raw" }

func (pointed) Route(req formats.Req) (formats.Op, bool) {
	kind := formats.File
	if req.Method == http.MethodPut {
		kind = formats.Write
	}
	return formats.Op{Kind: kind, Name: req.Path}, true
}

func (f pointed) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	b, err := tx.Blob(ctx, up.Body)
	if err != nil {
		return err
	}
	if old, err := tx.Record(ctx, "pointers", "last"); err == nil {
		*f.path = old.Path
	}
	tx.Put(formats.Record{Name: op.Name}, b)
	tx.PutIf(formats.Record{Scope: "pointers", Name: "last", Path: op.Name, Move: true, Meta: []byte("same")}, nil, func(*formats.Record) error { return nil })
	return nil
}

// A pointer that differs from the one before in nothing but where it points is
// another one.
func TestPointerMoves(t *testing.T) {
	var path string
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{pointed{&path}} }})
	r.Create("r", config.Hosted, "raw", nil)
	for _, name := range []string{"a", "b", "c"} {
		r.Put("r", name, []byte("bytes"))
	}
	if path != "b" {
		t.Errorf("before the last upload it pointed at %q, want b", path)
	}
}
