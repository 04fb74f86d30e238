package rest

import (
	"context"
	"net/http"
	"reflect"

	"granary/auth"
	"granary/httpapi/exchange"
)

// LoginRequest is the body of a log-in.
type LoginRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Session is the answer to a log-in.
type Session struct {
	Token              string `json:"token"`
	MustChangePassword bool   `json:"must_change_password"`
}

// ChangePasswordRequest is the body of a change of password.
type ChangePasswordRequest struct {
	Username        string           `json:"username"`
	CurrentPassword optional[string] `json:"current_password,omitempty"`
	NewPassword     string           `json:"new_password"`
}

func (a *api) login() {
	const tag = "auth"
	register(a, operation{
		id: "login", method: http.MethodPost, path: "/auth/login", summary: "Get a token", tag: tag, reads: reflect.TypeFor[LoginRequest](),
	}, a.logIn)
	register(a, operation{
		id: "change-password", method: http.MethodPost, path: "/auth/change-password",
		summary: "Change one's own password, or as an administrator another user's", tag: tag, reads: reflect.TypeFor[ChangePasswordRequest](),
	}, a.changePassword)
	register(a, operation{
		id: "revoke-all", method: http.MethodPost, path: "/auth/revoke-all", summary: "End all tokens of all users", tag: tag, status: http.StatusNoContent,
	}, func(ctx context.Context, x *exchange.Exchange, _ *none) (*none, error) {
		if err := x.Administer(); err != nil {
			return nil, err
		}
		return nil, a.Auth.RevokeAll(ctx)
	})
}

func (a *api) logIn(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Session], error) {
	p, err := a.read(x, maxLogin)
	if err != nil {
		return nil, err
	}
	var in LoginRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	x.Subject = in.Username
	s, err := a.Auth.Login(ctx, x.Identity.Peer, in.Username, auth.Secret(in.Password))
	if err != nil {
		return nil, err
	}
	return &answer[Session]{Session{string(s.Token), s.MustChangePassword}}, nil
}

// changed is the answer to a change of password: a new token for one's own,
// nothing for another's.
type changed struct {
	Status int
	Body   *Session
}

func (a *api) changePassword(ctx context.Context, x *exchange.Exchange, _ *none) (*changed, error) {
	if x.Identity.Anonymous() {
		return nil, x.LoggedIn()
	}
	p, err := a.read(x, maxLogin)
	if err != nil {
		return nil, err
	}
	var in ChangePasswordRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	s, err := a.Auth.ChangePassword(ctx, x.Identity, in.Username, auth.Secret(in.CurrentPassword.value), auth.Secret(in.NewPassword))
	if err != nil {
		return nil, err
	}
	if s.Token == "" {
		return &changed{Status: http.StatusNoContent}, nil
	}
	return &changed{Status: http.StatusOK, Body: &Session{string(s.Token), s.MustChangePassword}}, nil
}
