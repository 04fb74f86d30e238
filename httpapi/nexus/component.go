package nexus

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/gorilla/mux"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/repo"
)

// upload gives the form to the repository's format.
func (a *api) upload(x *exchange.Exchange, r *http.Request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return formats.BadRequest("the query can't be read")
	}
	name := q.Get("repository")
	if name == "" {
		return errNoRepository
	}
	h, err := a.open(x, formats.VerbWrite, name)
	if err != nil {
		return err
	}
	f, ok := h.Format.(formats.ComponentUploader)
	if !ok {
		return formats.BadRequest("repositories of format %s take no components", h.Format.Name())
	}
	limit := a.Settings().MaxArtifactBytes
	if r.ContentLength > limit {
		return fmt.Errorf("%w: %d bytes, at most %d are possible", formats.ErrTooLarge, r.ContentLength, limit)
	}
	up := &formats.Upload{
		Header: r.Header, Query: q, Repository: name, Body: formats.Limit(r.Body, limit, "body"), Size: r.ContentLength,
	}
	if _, err := h.Write(r.Context(), f.Component(), up, repo.Precondition{}); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}

// named is the id in the path and its repository, opened.
func (a *api) named(x *exchange.Exchange, r *http.Request, verb formats.Verb) (id, *repo.Handle, error) {
	s, err := url.PathUnescape(mux.Vars(r)["id"])
	if err != nil {
		return id{}, nil, errNoID
	}
	i, ok := parseID(s)
	if !ok {
		if err := x.LoggedIn(); err != nil {
			return id{}, nil, err
		}
		return id{}, nil, errNoID
	}
	h, err := a.open(x, verb, i.repository)
	return i, h, err
}

func (a *api) find(x *exchange.Exchange, r *http.Request) (AssetXO, error) {
	i, h, err := a.named(x, r, formats.VerbRead)
	if err != nil {
		return AssetXO{}, err
	}
	c, err := h.Content(r.Context(), formats.Record{Scope: i.scope, Name: i.name})
	if err != nil {
		return AssetXO{}, err
	}
	return newAsset(x.Base(), i.repository, h.Format.Name(), c.Record), nil
}

func (a *api) asset(x *exchange.Exchange, r *http.Request) error {
	asset, err := a.find(x, r)
	if err != nil {
		return err
	}
	return answer(x, r, http.StatusOK, asset)
}

func (a *api) component(x *exchange.Exchange, r *http.Request) error {
	asset, err := a.find(x, r)
	if err != nil {
		return err
	}
	return answer(x, r, http.StatusOK, newComponent(asset))
}

// remove deletes a file in the way that its format has for it.
func (a *api) remove(x *exchange.Exchange, r *http.Request) error {
	i, h, err := a.named(x, r, formats.VerbDelete)
	if err != nil {
		return err
	}
	op, ok := h.Route(formats.Req{Method: http.MethodDelete, Path: formats.Join(i.scope, i.name), Header: http.Header{}})
	if !ok || op.Kind != formats.Delete {
		return &fault.Fault{
			Status: http.StatusMethodNotAllowed, Code: fault.NotAllowed,
			Message: "nothing is deleted like this from a repository of format " + h.Format.Name(),
		}
	}
	if err := h.Delete(r.Context(), op, repo.Precondition{}); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}
