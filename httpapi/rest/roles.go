package rest

import (
	"context"
	"net/http"
	"reflect"

	"granary/auth"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
)

// Capability is a right on the repositories whose name fits a glob.
type Capability struct {
	Capability string   `json:"capability" enum:"read,write,delete,admin" doc:"admin is to configure a repository, and includes the others."`
	Repo       string   `json:"repo" doc:"A glob over names: * is any characters, ? is one."`
	Paths      []string `json:"paths,omitempty" required:"false" nullable:"false" doc:"Globs over paths below the repository; absent: all paths. * and ? stop at a slash, ** does not, and /** at the end is a directory with all below it."`
}

// Role is a role as clients see it.
type Role struct {
	Name         string       `json:"name"`
	Description  string       `json:"description"`
	Capabilities []Capability `json:"capabilities" nullable:"false"`
	CreatedAt    Timestamp    `json:"created_at"`
	UpdatedAt    Timestamp    `json:"updated_at"`
}

// CreateRoleRequest is the body that makes a role.
type CreateRoleRequest struct {
	Name         string                 `json:"name"`
	Description  optional[string]       `json:"description,omitempty"`
	Capabilities optional[[]Capability] `json:"capabilities,omitempty"`
}

// UpdateRoleRequest is the body that changes a role; what is absent or null
// stays.
type UpdateRoleRequest struct {
	Description  optional[string]       `json:"description,omitempty"`
	Capabilities optional[[]Capability] `json:"capabilities,omitempty"`
}

func (a *api) roles() {
	const tag = "roles"
	register(a, operation{id: "list-roles", method: http.MethodGet, path: "/roles", summary: "List roles", tag: tag}, a.listRoles)
	register(a, operation{
		id: "create-role", method: http.MethodPost, path: "/roles", summary: "Make a role", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CreateRoleRequest](),
	}, a.createRole)
	register(a, operation{id: "get-role", method: http.MethodGet, path: "/roles/{name}", summary: "Get a role", tag: tag}, a.getRole)
	register(a, operation{
		id: "update-role", method: http.MethodPut, path: "/roles/{name}", summary: "Change a role", tag: tag, reads: reflect.TypeFor[UpdateRoleRequest](),
	}, a.updateRole)
	register(a, operation{
		id: "delete-role", method: http.MethodDelete, path: "/roles/{name}", summary: "Delete a role", tag: tag, status: http.StatusNoContent,
	}, a.deleteRole)
}

func showRole(r auth.Role) Role {
	return Role{r.Name, r.Description, showCapabilities(r.Capabilities), Timestamp(r.CreatedAt), Timestamp(r.UpdatedAt)}
}

func showCapabilities(list []auth.Capability) []Capability {
	out := make([]Capability, 0, len(list))
	for _, c := range list {
		out = append(out, Capability(c))
	}
	return out
}

func capabilities(in []Capability) []auth.Capability {
	out := make([]auth.Capability, 0, len(in))
	for _, c := range in {
		out = append(out, auth.Capability(c))
	}
	return out
}

// taken says of a name that it is: 409.
func taken(what, name string) error {
	return &fault.Fault{Status: http.StatusConflict, Code: fault.Conflict, Message: what + " " + name + " already exists"}
}

func (a *api) listRoles(_ context.Context, x *exchange.Exchange, _ *none) (*answer[[]Role], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	out := []Role{}
	for _, r := range a.Auth.Roles() {
		out = append(out, showRole(r))
	}
	return &answer[[]Role]{out}, nil
}

func (a *api) createRole(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Role], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	if r, err := a.Auth.Role(p.text("name")); err == nil {
		return nil, taken("role", r.Name)
	}
	var in CreateRoleRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	r, err := a.Auth.CreateRole(ctx, auth.NewRole{
		Name: in.Name, Description: in.Description.value, Capabilities: capabilities(in.Capabilities.value),
	})
	if err != nil {
		return nil, err
	}
	return &answer[Role]{showRole(r)}, tagged(x, showRole(r))
}

func (a *api) getRole(_ context.Context, x *exchange.Exchange, in *named) (*answer[Role], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	name, err := segment(in.Name)
	if err != nil {
		return nil, err
	}
	r, err := a.Auth.Role(name)
	if err != nil {
		return nil, err
	}
	return &answer[Role]{showRole(r)}, tagged(x, showRole(r))
}

func (a *api) updateRole(ctx context.Context, x *exchange.Exchange, in *named) (*answer[Role], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	name, err := segment(in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body UpdateRoleRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	change := auth.RoleChange{Check: roleUnchanged(x)}
	body.Description.pointer(&change.Description)
	if body.Capabilities.some() {
		list := capabilities(body.Capabilities.value)
		change.Capabilities = &list
	}
	r, err := a.Auth.UpdateRole(ctx, name, change)
	if err != nil {
		return nil, err
	}
	return &answer[Role]{showRole(r)}, tagged(x, showRole(r))
}

func (a *api) deleteRole(ctx context.Context, x *exchange.Exchange, in *named) (*none, error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	name, err := segment(in.Name)
	if err != nil {
		return nil, err
	}
	return nil, a.Auth.DeleteRole(ctx, name)
}
