package repo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"granary/formats"
	"granary/repo/record"
)

// along returns the record of a file and those that go with it.
func (h *hosted) along(ctx context.Context, path string) ([]record.Named, error) {
	op, ok := h.repo.format.Route(formats.Req{Method: http.MethodDelete, Path: path})
	if !ok || op.Kind != formats.Delete {
		return nil, nil
	}
	tx, err := newTx(ctx, h, nil, Precondition{})
	if err != nil {
		return nil, err
	}
	defer tx.close(ctx)
	tx.looks = true
	if err := h.repo.format.Accept(ctx, op, nil, tx); err != nil && !errors.Is(err, formats.ErrNotFound) {
		return nil, fmt.Errorf("find what belongs to %s/%s: %w", h.repo.Name, path, err)
	}
	return h.with(ctx, append([]formats.Op{op}, tx.deletes...))
}

// with returns records, where they are there, and what announces them.
func (h *hosted) with(ctx context.Context, todo []formats.Op) ([]record.Named, error) {
	var out []record.Named
	for len(todo) > 0 {
		d := todo[0]
		todo = todo[1:]
		if slices.ContainsFunc(out, func(n record.Named) bool { return n.Scope == d.Scope && n.Name == d.Name }) {
			continue
		}
		rec, version, err := h.service.Records.Get(ctx, h.repo.space, d.Scope, d.Name, record.Latest)
		if errors.Is(err, formats.ErrNotFound) || errors.Is(err, formats.ErrBadRequest) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, record.Named{Scope: d.Scope, Name: d.Name, Version: version, Record: rec})
		todo = append(todo, h.announces(d.Scope, d.Name)...)
	}
	return out, nil
}

func (h *hosted) announces(scope, name string) []formats.Op {
	var out []formats.Op
	if f, ok := h.repo.format.(formats.Announcer); ok {
		for scope, name := range f.Announces(scope, name) {
			out = append(out, formats.Op{Scope: scope, Name: name})
		}
	}
	return out
}
