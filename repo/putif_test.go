package repo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// appender is a format whose one file grows: each upload says how long it must
// be before.
type appender struct{}

func (appender) Name() string { return "raw" }

func (appender) Route(req formats.Req) (formats.Op, bool) {
	kind := formats.File
	if req.Method == http.MethodPut {
		kind = formats.Write
	}
	return formats.Op{Kind: kind, Name: req.Path}, true
}

var errOther = errors.New("has another length")

func (appender) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	var size int64
	if old, err := tx.Record(ctx, op.Scope, op.Name); err == nil {
		size = old.Size
	}
	b, err := tx.Blob(ctx, strings.NewReader(strings.Repeat("x", int(size)+1)))
	if err != nil {
		return err
	}
	tx.PutIf(formats.Record{Name: op.Name}, b, func(old *formats.Record) error {
		if old == nil && size == 0 || old != nil && old.Size == size {
			return nil
		}
		return fmt.Errorf("the file %w", errOther)
	})
	return nil
}

// Many who change one record lose no change, whatever the conflict policy.
func TestPutIf(t *testing.T) {
	for _, policy := range []config.Policy{config.Allow, config.Deny, config.AllowIdentical} {
		r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{appender{}} }})
		r.Create("r", config.Hosted, "raw", func(c *config.Repository) { c.ConflictPolicy = policy })
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				for done := 0; done < 4; {
					_, _, err := r.Send(t.Context(), "r", "PUT", "f", nil)
					switch {
					case err == nil:
						done++
					case !errors.Is(err, errOther):
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if n := len(r.Get("r", "f")); n != 20 {
			t.Errorf("%s: %d of 20 changes", policy, n)
		}
	}
}
