package rest

import (
	"context"
	"net/http"
	"reflect"

	"granary/auth"
	"granary/httpapi/exchange"
)

// User is a user as clients see it.
type User struct {
	Username           string        `json:"username"`
	Kind               auth.UserKind `json:"kind" enum:"builtin,service,ldap,oidc" doc:"A service account has no password, only API tokens; others come from where they log in."`
	Roles              []string      `json:"roles" nullable:"false"`
	MustChangePassword bool          `json:"must_change_password"`
	CreatedAt          Timestamp     `json:"created_at"`
	UpdatedAt          Timestamp     `json:"updated_at"`
}

// CreateUserRequest is the body that makes a user.
type CreateUserRequest struct {
	Username           string             `json:"username"`
	Kind               optional[string]   `json:"kind,omitempty" enum:"builtin,service"`
	Password           optional[string]   `json:"password,omitempty" doc:"Required, except for a service account."`
	Roles              optional[[]string] `json:"roles,omitempty"`
	MustChangePassword optional[bool]     `json:"must_change_password,omitempty"`
}

// UpdateUserRequest is the body that changes a user; what is absent or null
// stays.
type UpdateUserRequest struct {
	Password           optional[string]   `json:"password,omitempty"`
	Roles              optional[[]string] `json:"roles,omitempty"`
	MustChangePassword optional[bool]     `json:"must_change_password,omitempty"`
}

type username struct {
	Username string `path:"username"`
}

func (a *api) users() {
	const tag = "users"
	register(a, operation{id: "list-users", method: http.MethodGet, path: "/users", summary: "List users", tag: tag}, a.listUsers)
	register(a, operation{
		id: "create-user", method: http.MethodPost, path: "/users", summary: "Make a user", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CreateUserRequest](),
	}, a.createUser)
	register(a, operation{id: "get-user", method: http.MethodGet, path: "/users/{username}", summary: "Get a user", tag: tag}, a.getUser)
	register(a, operation{
		id: "update-user", method: http.MethodPut, path: "/users/{username}", summary: "Change a user", tag: tag,
		reads: reflect.TypeFor[UpdateUserRequest](),
	}, a.updateUser)
	register(a, operation{
		id: "delete-user", method: http.MethodDelete, path: "/users/{username}", summary: "Delete a user", tag: tag, status: http.StatusNoContent,
	}, a.deleteUser)
	register(a, operation{
		id: "revoke-tokens", method: http.MethodPost, path: "/users/{username}/revoke-tokens", summary: "End all tokens of a user",
		tag: tag, status: http.StatusNoContent,
	}, a.revokeTokens)
}

func showUser(u auth.User) User {
	return User{u.Username, u.Kind, u.Roles, u.MustChangePassword, Timestamp(u.CreatedAt), Timestamp(u.UpdatedAt)}
}

func (a *api) listUsers(_ context.Context, x *exchange.Exchange, _ *none) (*answer[[]User], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	out := []User{}
	for _, u := range a.Auth.Users() {
		out = append(out, showUser(u))
	}
	return &answer[[]User]{out}, nil
}

func (a *api) createUser(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[User], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	// A taken name is told before the rest is judged.
	if u, err := a.Auth.User(p.text("username")); err == nil {
		return nil, taken("user", u.Username)
	}
	var in CreateUserRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	if in.Kind.value != string(auth.ServiceAccount) && !in.Password.some() {
		return nil, misshapen("password", "is missing")
	}
	u, err := a.Auth.CreateUser(ctx, auth.NewUser{
		Username: in.Username, Kind: auth.UserKind(in.Kind.value), Password: auth.Secret(in.Password.value), Roles: in.Roles.value, MustChangePassword: in.MustChangePassword.value,
	})
	if err != nil {
		return nil, err
	}
	return &answer[User]{showUser(u)}, tagged(x, showUser(u))
}

func (a *api) getUser(_ context.Context, x *exchange.Exchange, in *username) (*answer[User], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	name, err := segment(in.Username)
	if err != nil {
		return nil, err
	}
	u, err := a.Auth.User(name)
	if err != nil {
		return nil, err
	}
	return &answer[User]{showUser(u)}, tagged(x, showUser(u))
}

func (a *api) updateUser(ctx context.Context, x *exchange.Exchange, in *username) (*answer[User], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	name, err := segment(in.Username)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body UpdateUserRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	change := auth.UserChange{Check: userUnchanged(x)}
	if body.Password.some() {
		secret := auth.Secret(body.Password.value)
		change.Password = &secret
	}
	body.Roles.pointer(&change.Roles)
	body.MustChangePassword.pointer(&change.MustChangePassword)
	u, err := a.Auth.UpdateUser(ctx, name, change)
	if err != nil {
		return nil, err
	}
	return &answer[User]{showUser(u)}, tagged(x, showUser(u))
}

func (a *api) deleteUser(ctx context.Context, x *exchange.Exchange, in *username) (*none, error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	name, err := segment(in.Username)
	if err != nil {
		return nil, err
	}
	return nil, a.Auth.DeleteUser(ctx, name)
}

func (a *api) revokeTokens(ctx context.Context, x *exchange.Exchange, in *username) (*none, error) {
	name, err := segment(in.Username)
	if err != nil {
		return nil, err
	}
	if x.Identity.Name != name || x.Identity.Anonymous() || x.Identity.Limited() {
		if err := x.Administer(); err != nil {
			return nil, err
		}
	}
	return nil, a.Auth.RevokeTokens(ctx, x.Identity, name)
}
