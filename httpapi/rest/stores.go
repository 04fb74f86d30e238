package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"granary/blob"
	"granary/blob/check"
	"granary/httpapi/exchange"
	"granary/repo/config"
)

// CheckResult says whether a store works.
type CheckResult struct {
	OK         bool       `json:"ok"`
	Error      string     `json:"error,omitempty"`
	Properties []Property `json:"properties,omitempty"`
}

// Property is one thing that a store was tried for.
type Property struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Error    string `json:"error,omitempty"`
	Advisory bool   `json:"advisory,omitempty" doc:"Data is safe without it."`
}

func (a *api) stores() {
	const tag = "stores"
	register(a, operation{id: "list-stores", method: http.MethodGet, path: "/stores", summary: "List stores", tag: tag}, a.listStores)
	register(a, operation{
		id: "create-store", method: http.MethodPost, path: "/stores", summary: "Make a store", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CreateStoreRequest](),
	}, a.createStore)
	register(a, operation{id: "get-store", method: http.MethodGet, path: "/stores/{name}", summary: "Get a store", tag: tag}, a.getStore)
	register(a, operation{
		id: "update-store", method: http.MethodPut, path: "/stores/{name}", summary: "Change a store: what is absent stays, null is the default", tag: tag,
		reads: reflect.TypeFor[UpdateStoreRequest](),
	}, a.updateStore)
	register(a, operation{
		id: "delete-store", method: http.MethodDelete, path: "/stores/{name}", summary: "Delete a store that nothing uses", tag: tag,
		status: http.StatusNoContent,
	}, a.deleteStore)
	register(a, operation{
		id: "check-store", method: http.MethodPost, path: "/stores/{name}/check", summary: "Try out what granary needs of a store", tag: tag,
	}, a.checkStore)
	register(a, operation{
		id: "browse-store", method: http.MethodGet, path: "/stores/{name}/browse", summary: "List the blobs of a store", tag: tag,
	}, a.browseStore)
}

// admitted reads the name of a store after the right was decided.
func (a *api) admitted(x *exchange.Exchange, in *named) (string, error) {
	if err := x.Administer(); err != nil {
		return "", err
	}
	return segment(in.Name)
}

func (a *api) listStores(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[[]Store], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	out := []Store{}
	for _, s := range a.Registry.Stores() {
		out = append(out, a.countedStore(ctx, s))
	}
	return &answer[[]Store]{out}, nil
}

func (a *api) createStore(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Store], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	if _, ok := p.parsed["name"].(string); !ok {
		return nil, p.decode(&CreateStoreRequest{})
	}
	s, err := a.Registry.CreateStore(ctx, p.text("name"), func(s *config.Store) error {
		var in CreateStoreRequest
		if err := p.decode(&in); err != nil {
			return err
		}
		*s = config.NewStore(config.StoreType(in.StoreType))
		return in.apply(s)
	})
	if err != nil {
		return nil, err
	}
	return &answer[Store]{a.countedStore(ctx, s)}, nil
}

func (a *api) getStore(ctx context.Context, x *exchange.Exchange, in *named) (*answer[Store], error) {
	name, err := a.admitted(x, in)
	if err != nil {
		return nil, err
	}
	s, err := a.Registry.Store(ctx, name)
	if err != nil {
		return nil, err
	}
	return &answer[Store]{a.countedStore(ctx, s)}, tagged(x, showStore(s))
}

func (a *api) updateStore(ctx context.Context, x *exchange.Exchange, in *named) (*answer[Store], error) {
	name, err := a.admitted(x, in)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	s, err := a.Registry.UpdateStore(ctx, name, func(s *config.Store) error {
		var body UpdateStoreRequest
		if err := p.decode(&body); err != nil {
			return err
		}
		if err := unchanged(x, showStore(s)); err != nil {
			return err
		}
		switch {
		case body.Name.some() && body.Name.value != s.Name:
			return invalid("name", "can't be changed")
		case body.StoreType.some() && body.StoreType.value != string(s.Type):
			return invalid("store_type", "can't be changed")
		}
		return body.apply(s)
	})
	if err != nil {
		return nil, err
	}
	return &answer[Store]{a.countedStore(ctx, s)}, tagged(x, showStore(s))
}

func (a *api) deleteStore(ctx context.Context, x *exchange.Exchange, in *named) (*none, error) {
	name, err := a.admitted(x, in)
	if err != nil {
		return nil, err
	}
	return nil, a.Registry.DeleteStore(ctx, name, a.blobsLeft)
}

// blobsLeft refuses to forget a store with blobs in it. One that can't be
// opened any more may be forgotten only if it is known to be gone.
func (a *api) blobsLeft(ctx context.Context, s *config.Store) error {
	b, err := a.Repositories.Store(ctx, s.ID)
	if err != nil {
		return err
	}
	for info, err := range b.List(ctx, "") {
		if errors.Is(err, blob.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for blobs in store %s: %w", s.Name, err)
		}
		return fmt.Errorf("%w: store %s has blobs, such as %s", config.ErrInUse, s.Name, info.ID)
	}
	return nil
}

func (a *api) checkStore(ctx context.Context, x *exchange.Exchange, in *named) (*answer[CheckResult], error) {
	name, err := a.admitted(x, in)
	if err != nil {
		return nil, err
	}
	s, err := a.Registry.Store(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := a.Repositories.Store(ctx, s.ID)
	if err != nil {
		return &answer[CheckResult]{CheckResult{Error: err.Error()}}, nil
	}
	results := check.Run(ctx, b)
	out := CheckResult{OK: true}
	for _, r := range results {
		p := Property{Name: r.Property, OK: r.Err == nil, Advisory: r.Advisory}
		if r.Err != nil {
			p.Error = r.Err.Error()
		}
		out.Properties = append(out.Properties, p)
	}
	if err := check.Err(results); err != nil {
		out.OK, out.Error = false, err.Error()
	}
	return &answer[CheckResult]{out}, nil
}
