package repo_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// forcer stores what it is sent, by force if the query says so.
type forcer struct{}

func (forcer) Name() string { return "raw" }

func (forcer) Route(req formats.Req) (formats.Op, bool) {
	kind := formats.File
	if req.Method == http.MethodPut {
		kind = formats.Write
	}
	return formats.Op{Kind: kind, Name: req.Path}, true
}

func (forcer) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	b, err := tx.Blob(ctx, up.Body)
	if err == nil {
		tx.Put(formats.Record{Name: op.Name, Force: up.Query.Has("force")}, b)
	}
	return err
}

// Force gets past what is careful, not past what is forbidden.
func TestForce(t *testing.T) {
	for policy, want := range map[config.Policy]struct{ plain, forced error }{
		config.Allow:          {nil, nil},
		config.AllowIdentical: {formats.ErrExists, nil},
		config.Deny:           {formats.ErrExists, formats.ErrExists},
	} {
		r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{forcer{}} }})
		r.Create("r", config.Hosted, "raw", func(c *config.Repository) { c.ConflictPolicy = policy })
		r.Put("r", "f", []byte("one"))
		if _, _, err := r.Send(t.Context(), "r", "PUT", "f", []byte("two")); !errors.Is(err, want.plain) {
			t.Errorf("%s: %v", policy, err)
		}
		_, _, err := r.Send(t.Context(), "r", "PUT", "f?force", []byte("three"))
		if !errors.Is(err, want.forced) {
			t.Errorf("%s by force: %v", policy, err)
		}
		if got := r.Get("r", "f"); err == nil && !bytes.Equal(got, []byte("three")) {
			t.Errorf("%s: %s is there", policy, got)
		}
	}
}
