// Package rest is the REST surface below /api/v1, described with huma so that
// its OpenAPI follows from the code.
//
// huma routes, documents and writes answers. Bodies are read here, after the
// caller's right was decided: see [payload]. Paths and queries are strings to
// huma, so that every refusal has the one error body.
package rest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humamux"
	"github.com/gorilla/mux"

	"granary/audit"
	"granary/auth"
	"granary/blob"
	"granary/events"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/repo"
	"granary/repo/config"
	"granary/webhook"
)

// Prefix is what all routes begin with.
const Prefix = "/api/v1"

// Repositories is what the routes ask of the repositories; [repo.Service] is
// one.
type Repositories interface {
	Open(ctx context.Context, name string, access repo.Access) (*repo.Handle, error)
	Usage(ctx context.Context, repositoryID string) (count, bytes int64, err error)
	Store(ctx context.Context, id string) (blob.Store, error)
	Snapshot(ctx context.Context, repository, name, by string) (*repo.Snapshot, error)
	Snapshots(ctx context.Context, repository string) ([]*repo.Snapshot, error)
	DeleteSnapshot(ctx context.Context, repository, name string) error
	SigningKeys(ctx context.Context, repository string) ([]repo.SigningKey, error)
	RotateSigningKey(ctx context.Context, repository string, n repo.NewKey) (repo.SigningKey, error)
	EndSigningKey(ctx context.Context, repository, fingerprint string) error
	Signs(r *config.Repository) bool
	CheckSigningKey(fingerprint, private string) error
	RestoreSigningKeys(ctx context.Context, repository string, keys []config.SigningKey, overlap time.Duration) error
	Copies
}

// Config is what the routes need.
type Config struct {
	Auth         *auth.Service
	Registry     *config.Registry
	Repositories Repositories
	// StoreUsage returns the number of blobs of a store and their bytes; ok is
	// false while they are not known. Optional.
	StoreUsage func(ctx context.Context, storeID string) (blobs, bytes int64, ok bool)
	// Version begins with a number.
	Version string
	// Ready tells why this node can't answer. Optional.
	Ready func() error
	// Events is told where the state comes from, and followed by clients; who
	// made it runs it. Optional.
	Events *events.Feed
	// Tasks are started and shown; without them there are no such routes.
	// Optional.
	Tasks Tasks
	// Members tells of the nodes. Optional.
	Members Members
	// Audit is asked for who did what. Optional.
	Audit *audit.Log
	// Webhooks makes deliveries. Optional.
	Webhooks *webhook.Sender
	// Explainer tells why a blob is kept. Optional.
	Explainer Explainer
}

// api is what the operations share.
type api struct {
	Config
	huma     huma.API
	registry huma.Registry
	note     func(r *http.Request, err error, f fault.Fault)
	usage    counts
}

// New adds the routes to m. note is told of every error that is answered. The
// OpenAPI document of what it returns is complete.
func New(m *mux.Router, c Config, note func(r *http.Request, err error, f fault.Fault)) (huma.API, error) {
	if c.Auth == nil || c.Registry == nil || c.Repositories == nil {
		return nil, errors.New("rest: Auth, Registry and Repositories are required")
	}
	hc := huma.DefaultConfig("granary", c.Version)
	hc.Info.Description = "Scale-out artifact repository manager."
	hc.OpenAPIPath, hc.DocsPath, hc.SchemasPath = "", "", ""
	hc.CreateHooks = nil // no $schema in answers
	hc.AllowAdditionalPropertiesByDefault = true
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"basic":  {Type: "http", Scheme: "basic"},
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
	}
	// None is allowed too: what anonymous may do is configured.
	hc.Security = []map[string][]string{{"basic": {}}, {"bearer": {}}, {}}
	a := &api{Config: c, note: note, huma: humamux.New(m, hc)}
	a.registry = a.huma.OpenAPI().Components.Schemas
	a.huma.UseMiddleware(a.enter)
	a.health()
	a.login()
	a.users()
	a.tokens()
	a.roles()
	a.repositories()
	a.artifacts()
	a.snapshots()
	a.signingKeys()
	a.quarantine()
	a.stores()
	a.explain()
	a.settings()
	a.directory()
	a.reseal()
	a.audit()
	a.providers()
	a.providerLogin()
	a.events()
	a.tasks()
	a.cluster()
	a.jobs()
	a.webhooks()
	a.backup()
	return a.huma, nil
}

// enter names the operation for metrics and log, and keeps answers out of
// caches.
func (a *api) enter(ctx huma.Context, next func(huma.Context)) {
	x := exchange.From(ctx.Context())
	x.Route, x.Action = ctx.Operation().Path, ctx.Operation().OperationID
	x.Header().Set("Cache-Control", "no-store")
	next(ctx)
}

// none is the input of an operation without parameters, and the output of one
// without a body.
type none struct{}

// answer is an output with a body.
type answer[T any] struct{ Body T }

// named is the input of an operation on one thing.
type named struct {
	Name string `path:"name"`
}

// operation describes one route; reads is the type of its JSON body, nil for
// none.
type operation struct {
	id, method, path, summary string
	status                    int // of success; 0 is 200
	reads                     reflect.Type
	tag                       string
	bodyless                  bool // the body may be absent
}

// register adds a route. A handler's error is answered by the error table.
func register[I, O any](a *api, o operation, h func(ctx context.Context, x *exchange.Exchange, in *I) (*O, error)) {
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: Prefix + o.path, Summary: o.summary, DefaultStatus: o.status,
		Tags: []string{o.tag}, Responses: map[string]*huma.Response{"default": a.failure()},
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		x := exchange.From(ctx)
		out, err := h(ctx, x, in)
		if err != nil {
			return nil, a.fail(x, err)
		}
		return out, nil
	})
	if o.reads != nil {
		// Afterwards, because huma would read the body itself.
		schema := a.registry.Schema(o.reads, true, o.id+"-request")
		method(a.huma.OpenAPI().Paths[op.Path], o.method).RequestBody = &huma.RequestBody{
			Required: !o.bodyless, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
	}
}

func method(p *huma.PathItem, m string) *huma.Operation {
	switch m {
	case http.MethodPost:
		return p.Post
	case http.MethodPut:
		return p.Put
	case http.MethodDelete:
		return p.Delete
	}
	return p.Get
}

// failure documents the error body.
func (a *api) failure() *huma.Response {
	return &huma.Response{
		Description: "Error",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: a.registry.Schema(reflect.TypeFor[fault.Body](), true, "Error"),
		}},
	}
}

// fail makes huma answer with the error table.
func (a *api) fail(x *exchange.Exchange, err error) error {
	f := fault.Of(err)
	a.note(x.Request(), err, f)
	f.Prepare(x, x.Request())
	return &failed{Body: f.Body(), status: f.Status}
}

// failed is an answer that huma takes for an error.
type failed struct {
	fault.Body
	status int
}

// GetStatus is for huma.
func (f *failed) GetStatus() int { return f.status }

func (f *failed) Error() string { return f.Body.Error.Message }

// segment undoes the escaping of a path parameter: paths are matched as they
// were sent.
func segment(s string) (string, error) {
	u, err := url.PathUnescape(s)
	if err != nil {
		return "", formats.BadRequest("a name in the path can't be read")
	}
	return u, nil
}
