package rest

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"golang.org/x/sync/errgroup"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/repo/config"
)

func (a *api) repositories() {
	const tag = "repositories"
	register(a, operation{
		id: "list-repositories", method: http.MethodGet, path: "/repositories", summary: "List the repositories that the caller may read", tag: tag,
	}, a.listRepositories)
	register(a, operation{
		id: "create-repository", method: http.MethodPost, path: "/repositories", summary: "Make a repository", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CreateRepositoryRequest](),
	}, a.createRepository)
	register(a, operation{
		id: "get-repository", method: http.MethodGet, path: "/repositories/{name}", summary: "Get a repository", tag: tag,
	}, a.getRepository)
	register(a, operation{
		id: "update-repository", method: http.MethodPut, path: "/repositories/{name}", tag: tag,
		summary: "Change a repository: what is absent stays, null is the default", reads: reflect.TypeFor[UpdateRepositoryRequest](),
	}, a.updateRepository)
	register(a, operation{
		id: "delete-repository", method: http.MethodDelete, path: "/repositories/{name}", summary: "Delete a repository", tag: tag,
		status: http.StatusNoContent,
	}, a.deleteRepository)
	register(a, operation{
		id: "rename-repository", method: http.MethodPost, path: "/repositories/{name}/rename", summary: "Give a repository another name", tag: tag,
		reads: reflect.TypeFor[RenameRequest](),
	}, a.renameRepository)
}

// usageAtOnce bounds how many repositories are counted at the same time.
const usageAtOnce = 8

func (a *api) listRepositories(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[[]*Repository], error) {
	out := []*Repository{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(usageAtOnce)
	for _, c := range a.Registry.Repositories() {
		if !x.CanSome(formats.VerbRead, c.Name, "") {
			continue
		}
		r := a.showRepository(c)
		out = append(out, r)
		g.Go(func() error {
			var err error
			r.ArtifactCount, r.TotalBytes, err = a.Repositories.Usage(ctx, c.ID)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &answer[[]*Repository]{out}, nil
}

func (a *api) createRepository(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[*Repository], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	if _, ok := p.parsed["name"].(string); !ok {
		return nil, p.decode(&CreateRepositoryRequest{})
	}
	c, err := a.Registry.CreateRepository(ctx, p.text("name"), func(r *config.Repository) error {
		var in CreateRepositoryRequest
		if err := p.decode(&in); err != nil {
			return err
		}
		r.Type, r.Format = config.Type(in.RepoType), in.Format
		store := in.Store.value
		if store == "" {
			store = defaultStore
		}
		if r.Store, err = a.Registry.StoreID(ctx, "store", store); err != nil {
			return err
		}
		return a.apply(ctx, &in.RepositoryFields, r)
	})
	if err != nil {
		return nil, err
	}
	return a.counted(ctx, x, c)
}

// defaultStore is the store of repositories that name none.
const defaultStore = "default"

func (a *api) getRepository(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Repository], error) {
	name, err := segment(in.Name)
	if err != nil {
		return nil, err
	}
	if err := x.AuthoriseSome(formats.VerbRead, name, ""); err != nil {
		return nil, err
	}
	c, err := a.Registry.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return a.counted(ctx, x, c)
}

func (a *api) updateRepository(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Repository], error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	c, err := a.Registry.UpdateRepository(ctx, name, func(r *config.Repository) error {
		var body UpdateRepositoryRequest
		if err := p.decode(&body); err != nil {
			return err
		}
		if err := unchanged(x, a.showRepository(r)); err != nil {
			return err
		}
		if err := a.keeps(&body, r); err != nil {
			return err
		}
		was := r.Listen
		if err := a.apply(ctx, &body.RepositoryFields, r); err != nil {
			return err
		}
		if r.Listen != was {
			// Ports and host names are the server's.
			return x.Administer()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a.counted(ctx, x, c)
}

// administered is the repository's name, once the caller may configure it.
func administered(x *exchange.Exchange, escaped string) (string, error) {
	name, err := segment(escaped)
	if err != nil {
		return "", err
	}
	return name, x.AdministerRepository(name)
}

// keeps refuses to change what a client may send back as it was told.
func (a *api) keeps(in *UpdateRepositoryRequest, r *config.Repository) error {
	for _, f := range []struct {
		name string
		sent optional[string]
		is   string
	}{
		{"name", in.Name, r.Name}, {"repo_type", in.RepoType, string(r.Type)}, {"format", in.Format, r.Format},
		{"store", in.Store, a.Registry.StoreName(r.Store)},
	} {
		if f.sent.some() && f.sent.value != f.is {
			return invalid(f.name, "can't be changed")
		}
	}
	return nil
}

func (a *api) deleteRepository(ctx context.Context, x *exchange.Exchange, in *named) (*none, error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	if c, err := a.Registry.Repository(ctx, name); err == nil {
		if err := unchanged(x, a.showRepository(c)); err != nil {
			return nil, err
		}
	}
	_, err = a.Registry.DeleteRepository(ctx, name)
	return nil, err
}

// RenameRequest is the body that gives another name.
type RenameRequest struct {
	NewName string `json:"new_name"`
}

func (a *api) renameRepository(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Repository], error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body RenameRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	if err := x.AdministerRepository(body.NewName); err != nil {
		return nil, err
	}
	c, err := a.Registry.RenameRepository(ctx, name, body.NewName)
	if err != nil {
		return nil, err
	}
	return a.counted(ctx, x, c)
}

// counted is the answer with one repository.
func (a *api) counted(ctx context.Context, x *exchange.Exchange, c *config.Repository) (*answer[*Repository], error) {
	r := a.showRepository(c)
	err := tagged(x, r)
	if err != nil {
		return nil, err
	}
	r.ArtifactCount, r.TotalBytes, err = a.Repositories.Usage(ctx, c.ID)
	// One that is deleted in this moment has nothing.
	if err != nil && !errors.Is(err, config.ErrNotFound) {
		return nil, err
	}
	return &answer[*Repository]{r}, nil
}
