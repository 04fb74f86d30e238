package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"granary/formats"
	"granary/gc/retention"
	"granary/httpapi/exchange"
	"granary/httpapi/requestpath"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/jobs"
)

// Bodies that start work on a repository.
type (
	// CloneRequest names the copy.
	CloneRequest struct {
		NewName string `json:"new_name"`
	}
	// CleanRequest may ask what would go.
	CleanRequest struct {
		DryRun optional[bool] `json:"dry_run,omitempty" doc:"Nothing goes; the result lists each item with its reason."`
	}
	// BulkDeleteRequest names a directory, "" being everything.
	BulkDeleteRequest struct {
		Prefix string `json:"prefix"`
	}
	// MoveRequest names the store that the bytes shall lie in.
	MoveRequest struct {
		Store string `json:"store"`
	}
	// PromoteRequest names what shall be in the target, too.
	PromoteRequest struct {
		Target string   `json:"target"`
		Paths  []string `json:"paths" doc:"Files, or directories with all below."`
	}
)

func (a *api) jobs() {
	if a.Tasks == nil {
		return
	}
	const tag = "repositories"
	for _, o := range []struct {
		operation
		start func(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Task], error)
	}{
		{operation{id: "clone-repository", path: "clone", summary: "Make a copy of a repository as it is now", reads: reflect.TypeFor[CloneRequest]()}, a.cloneRepository},
		{operation{id: "clean-repository", path: "clean", summary: "Remove what the repository's rules do not keep", reads: reflect.TypeFor[CleanRequest]()}, a.cleanRepository},
		{operation{id: "bulk-delete", path: "bulk-delete", summary: "Remove all in a directory and below", reads: reflect.TypeFor[BulkDeleteRequest]()}, a.bulkDelete},
		{operation{id: "move-repository", path: "move", summary: "Bring the bytes of a repository into another store", reads: reflect.TypeFor[MoveRequest]()}, a.moveRepository},
		{operation{id: "promote", path: "promote", summary: "Copy packages into another repository, all visible at once", reads: reflect.TypeFor[PromoteRequest]()}, a.promote},
	} {
		o.method, o.status, o.tag, o.path = http.MethodPost, http.StatusCreated, tag, "/repositories/{name}/"+o.path
		register(a, o.operation, o.start)
	}
}

// body reads one into v.
func (a *api) body(x *exchange.Exchange, v any) error {
	p, err := a.read(x, maxBody)
	if err != nil {
		return err
	}
	return p.decode(v)
}

// administered is the repository of a request that only who configures it may
// make.
func (a *api) administered(ctx context.Context, x *exchange.Exchange, escaped string, body any) (*config.Repository, error) {
	name, err := segment(escaped)
	if err != nil {
		return nil, err
	}
	if err := x.AdministerRepository(name); err != nil {
		return nil, err
	}
	if body != nil {
		if err := a.body(x, body); err != nil {
			return nil, err
		}
	}
	return a.Registry.Repository(ctx, name)
}

func (a *api) begin(ctx context.Context, x *exchange.Exchange, kind string, params any) (*answer[*Task], error) {
	t, err := a.Tasks.Start(ctx, kind, params, x.Identity.Name)
	if err != nil {
		return nil, err
	}
	return &answer[*Task]{showTask(&t)}, nil
}

func (a *api) cloneRepository(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Task], error) {
	if err := x.Administer(); err != nil {
		return nil, err // it makes a repository
	}
	var body CloneRequest
	c, err := a.administered(ctx, x, in.Name, &body)
	if err != nil {
		return nil, err
	}
	switch {
	case body.NewName == "":
		return nil, invalid("new_name", "must not be empty")
	case body.NewName == c.Name:
		return nil, invalid("new_name", "is the name of the repository itself")
	}
	made, err := a.Repositories.BeginClone(ctx, a.Registry, c.Name, body.NewName)
	if err != nil {
		return nil, err
	}
	out, err := a.begin(ctx, x, jobs.CloneKind, jobs.CloneParams{
		Source: c.Name, Target: body.NewName, SourceID: made.Source, TargetID: made.Target,
	})
	if err != nil {
		// Nobody would finish it, or give the name back.
		return nil, errors.Join(err, a.Repositories.AbandonClone(context.WithoutCancel(ctx), a.Registry, made))
	}
	return out, nil
}

func (a *api) cleanRepository(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Task], error) {
	c, err := a.administered(ctx, x, in.Name, nil)
	if err != nil {
		return nil, err
	}
	var body CleanRequest
	if x.Request().ContentLength != 0 {
		if err := a.body(x, &body); err != nil {
			return nil, err
		}
	}
	rules, err := retention.RulesOf(c)
	switch {
	case err != nil:
		return nil, err
	case c.Type == config.Proxy:
		return nil, notHere(c, "a group has nothing of its own to clean")
	case rules.None() && c.Format != "docker":
		return nil, formats.BadRequest("repository %s has no rule that says what goes", c.Name)
	}
	return a.begin(ctx, x, retention.KindName, retention.Params{Repo: c.Name, RepoID: c.ID, DryRun: body.DryRun.value})
}

func (a *api) bulkDelete(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Task], error) {
	name, err := segment(in.Name)
	if err != nil {
		return nil, err
	}
	if err := x.AuthoriseSome(formats.VerbDelete, name, ""); err != nil {
		return nil, err
	}
	var body BulkDeleteRequest
	if err := a.body(x, &body); err != nil {
		return nil, err
	}
	dir, err := directory(body.Prefix)
	if err != nil {
		return nil, err
	}
	if err := x.AuthoriseAt(formats.VerbDelete, name, dir, true); err != nil {
		return nil, err
	}
	c, err := a.Registry.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	if c.Type == config.Proxy {
		return nil, notHere(c, "things are deleted from the members of a group")
	}
	return a.begin(ctx, x, jobs.DeleteKind, jobs.DeleteParams{
		Repo: c.Name, Prefix: dir, RepoID: c.ID, Before: a.Repositories.Until().UnixNano(),
	})
}

func notHere(c *config.Repository, why string) error {
	return fmt.Errorf("%w: %s: %s", formats.ErrNotAllowed, c.Name, why)
}

func (a *api) moveRepository(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Task], error) {
	if err := x.Administer(); err != nil {
		return nil, err // stores are theirs
	}
	var body MoveRequest
	c, err := a.administered(ctx, x, in.Name, &body)
	if err != nil {
		return nil, err
	}
	store, err := a.Registry.StoreID(ctx, "store", body.Store)
	if err != nil {
		return nil, err
	}
	return a.begin(ctx, x, jobs.MoveKind, jobs.MoveParams{Repo: c.Name, Store: body.Store, RepoID: c.ID, StoreID: store})
}

// promote needs reading here and writing there.
func (a *api) promote(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Task], error) {
	name, err := segment(in.Name)
	if err != nil {
		return nil, err
	}
	if err := x.AuthoriseSome(formats.VerbRead, name, ""); err != nil {
		return nil, err
	}
	var body PromoteRequest
	if err := a.body(x, &body); err != nil {
		return nil, err
	}
	for i, p := range body.Paths {
		if body.Paths[i], _, err = requestpath.Clean(p); err != nil {
			return nil, invalid("paths", "%v", err)
		}
		if err := passes(x, body.Paths[i], formats.VerbRead, name); err != nil {
			return nil, err
		}
		if err := passes(x, body.Paths[i], formats.VerbWrite, body.Target); err != nil {
			return nil, err
		}
	}
	readable := func(verb formats.Verb, repository string) bool {
		for _, p := range body.Paths {
			if passes(x, p, verb, repository) != nil {
				return false
			}
		}
		return true
	}
	from, to, err := a.Repositories.CheckPromotion(ctx, name, body.Target, body.Paths, readable)
	if err != nil {
		return nil, err
	}
	return a.begin(ctx, x, jobs.PromoteKind, jobs.PromoteParams{
		Source: from.Name, Target: to.Name, Paths: body.Paths, SourceID: from.ID, TargetID: to.ID,
	})
}

// passes is the right on a file and on all below it, whichever it is.
func passes(x *exchange.Exchange, path string, verb formats.Verb, repository string) error {
	if err := x.AuthoriseAt(verb, repository, path, false); err != nil {
		return err
	}
	return x.AuthoriseAt(verb, repository, path, true)
}

// Copies is what the routes ask of the repositories beside reading them.
type Copies interface {
	BeginClone(ctx context.Context, registry repo.Cloner, source, newName string) (repo.Clone, error)
	AbandonClone(ctx context.Context, registry repo.Cloner, c repo.Clone) error
	// Until is when everything that was acknowledged by now has been written.
	Until() time.Time
	CheckPromotion(ctx context.Context, source, target string, paths []string, access repo.Access) (from, to *config.Repository, err error)
}
