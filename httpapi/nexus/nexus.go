// Package nexus is the part of Nexus Repository's REST interface that build
// scripts use, below /service/rest/v1: listing and searching what lies in a
// repository, uploading and deleting it.
//
// Every artifact is a component with one asset; both have the same id. Bodies
// and kinds of repositories have their names from Nexus: a cache is a proxy
// there, and what this server calls a proxy is a group.
package nexus

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gorilla/mux"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/repo"
	"granary/repo/config"
)

// Prefix is what all routes begin with.
const Prefix = "/service/rest/v1"

// Registry lists repositories; [config.Registry] is one.
type Registry interface {
	Repositories() []*config.Repository
}

// Repositories opens repositories by name; [repo.Service] is one.
type Repositories interface {
	Open(ctx context.Context, name string, access repo.Access) (*repo.Handle, error)
}

// Config is what the routes need.
type Config struct {
	Registry     Registry
	Repositories Repositories
	// Settings returns the settings in force.
	Settings func() *config.Settings
	// Fail answers with an error, as text; what the error means was decided
	// by the error table.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

type api struct{ Config }

// Mount adds the routes to m and describes them in doc.
func Mount(m *mux.Router, doc *huma.OpenAPI, c Config) error {
	if c.Registry == nil || c.Repositories == nil || c.Settings == nil || c.Fail == nil {
		return errors.New("nexus: Registry, Repositories, Settings and Fail are required")
	}
	a := &api{c}
	for _, r := range a.routes() {
		m.Path(Prefix + r.path).Methods(r.methods()...).Handler(a.handler(r))
		doc.AddOperation(r.describe(doc.Components.Schemas))
	}
	return nil
}

// route is one path and method.
type route struct {
	id, method, path, summary string
	query                     []parameter
	answers                   map[int]any // by status: a value of the body's type, nil for none
	form                      bool        // takes a multipart form
	handle                    func(x *exchange.Exchange, r *http.Request) error
}

func (a *api) routes() []route {
	found := searchParameters()
	return []route{
		{
			id: "nexus-status", method: http.MethodGet, path: "/status", summary: "Whether this node answers",
			answers: map[int]any{200: nil}, handle: a.status,
		},
		{
			id: "nexus-repositories", method: http.MethodGet, path: "/repositories", summary: "The repositories that the caller may read",
			answers: map[int]any{200: []RepositoryXO{}}, handle: a.repositories,
		},
		{
			id: "nexus-list-assets", method: http.MethodGet, path: "/assets", summary: "List assets", query: found,
			answers: map[int]any{200: PageAssetXO{}}, handle: a.assets,
		},
		{
			id: "nexus-search-assets", method: http.MethodGet, path: "/search/assets", summary: "Search assets", query: found,
			answers: map[int]any{200: PageAssetXO{}}, handle: a.assets,
		},
		{
			id: "nexus-download-asset", method: http.MethodGet, path: "/search/assets/download", summary: "Go to the first asset found", query: found,
			answers: map[int]any{302: nil}, handle: a.download,
		},
		{
			id: "nexus-list-components", method: http.MethodGet, path: "/components", summary: "List components", query: found,
			answers: map[int]any{200: PageComponentXO{}}, handle: a.components,
		},
		{
			id: "nexus-search-components", method: http.MethodGet, path: "/search", summary: "Search components", query: found,
			answers: map[int]any{200: PageComponentXO{}}, handle: a.components,
		},
		{
			id: "nexus-upload-component", method: http.MethodPost, path: "/components", summary: "Upload a component", form: true,
			query: found[:1], answers: map[int]any{204: nil}, handle: a.upload,
		},
		{
			id: "nexus-get-component", method: http.MethodGet, path: "/components/{id}", summary: "Get a component",
			answers: map[int]any{200: ComponentXO{}}, handle: a.component,
		},
		{
			id: "nexus-delete-component", method: http.MethodDelete, path: "/components/{id}", summary: "Delete a component",
			answers: map[int]any{204: nil}, handle: a.remove,
		},
		{
			id: "nexus-get-asset", method: http.MethodGet, path: "/assets/{id}", summary: "Get an asset",
			answers: map[int]any{200: AssetXO{}}, handle: a.asset,
		},
		{
			id: "nexus-delete-asset", method: http.MethodDelete, path: "/assets/{id}", summary: "Delete an asset",
			answers: map[int]any{204: nil}, handle: a.remove,
		},
	}
}

func (r route) methods() []string {
	if r.method == http.MethodGet {
		return []string{http.MethodGet, http.MethodHead}
	}
	return []string{r.method}
}

// handler names the request for metrics and log.
func (a *api) handler(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		x := exchange.From(req.Context())
		x.Route, x.Action = Prefix+r.path, r.id
		x.Header().Set("Cache-Control", "no-store")
		if err := r.handle(x, req); err != nil {
			a.Fail(w, req, err)
		}
	})
}

// status is for whoever asks.
func (a *api) status(x *exchange.Exchange, _ *http.Request) error {
	x.WriteHeader(http.StatusOK)
	return nil
}

// RepositoryXO is a repository as Nexus describes it.
type RepositoryXO struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Type   string `json:"type" enum:"hosted,proxy,group"`
	URL    string `json:"url"`
}

// types translates the kinds of repositories.
var types = map[config.Type]string{config.Hosted: "hosted", config.Cache: "proxy", config.Proxy: "group"}

func (a *api) repositories(x *exchange.Exchange, r *http.Request) error {
	out := []RepositoryXO{}
	for _, c := range a.Registry.Repositories() {
		if x.Can(formats.VerbRead, c.Name) {
			out = append(out, RepositoryXO{c.Name, c.Format, types[c.Type], x.Base() + "/repository/" + c.Name})
		}
	}
	if len(out) == 0 {
		// Who may read nothing and showed no credentials is asked for some.
		if err := x.LoggedIn(); err != nil {
			return err
		}
	}
	return answer(x, r, http.StatusOK, out)
}

// open opens a repository that the caller may use.
func (a *api) open(x *exchange.Exchange, verb formats.Verb, name string) (*repo.Handle, error) {
	if err := x.Authorise(verb, name); err != nil {
		return nil, err
	}
	return a.Repositories.Open(x.Request().Context(), name, x.Can)
}

var errNoID = &fault.Fault{Status: http.StatusNotFound, Code: fault.NotFound, Message: "there is no such id"}
