package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/exchange"
)

// accounts is formats.Accounts: what clients such as npm do about users and
// tokens through a repository.
type accounts struct {
	s          *server
	x          *exchange.Exchange
	repository string
}

var _ formats.Accounts = (*accounts)(nil)

func (a *accounts) Username() (string, error) {
	if err := a.x.LoggedIn(); err != nil {
		return "", err
	}
	return a.x.Identity.Name, nil
}

// Login makes an API token with all rights of the user. Whoever has no right in
// the repository is refused like a wrong password: neither the answer nor the
// lack of one tells whether the repository exists.
func (a *accounts) Login(ctx context.Context, username, password string) (string, error) {
	session, err := a.s.REST.Auth.Login(ctx, a.x.Client, username, auth.Secret(password))
	if err != nil {
		return "", err
	}
	// A request of its own: that of the log-in may carry other credentials.
	id, err := a.s.Auth.AuthenticateToken(ctx, (&http.Request{RemoteAddr: a.x.Request().RemoteAddr, Header: http.Header{}}).WithContext(ctx), session.Token)
	if err != nil {
		return "", err
	}
	if session.MustChangePassword || !a.hasRight(id) {
		return "", &auth.CredentialError{Method: auth.Basic, Reason: "this user has no right in the repository"}
	}
	_, text, err := a.create(ctx, id, "log-in", nil)
	return text, err
}

func (a *accounts) hasRight(id auth.Identity) bool {
	for _, verb := range []formats.Verb{formats.VerbRead, formats.VerbWrite, formats.VerbDelete} {
		if id.CanSome(string(verb), a.repository, "") {
			return true
		}
	}
	return false
}

func (a *accounts) create(ctx context.Context, id auth.Identity, what string, capabilities *[]auth.Capability) (formats.AccountToken, string, error) {
	name := fmt.Sprintf("%s at %s, %s", what, a.repository, a.s.Now().UTC().Format(time.DateTime))
	t, text, err := a.s.REST.Auth.CreateToken(ctx, id, auth.NewAPIToken{Name: name, Capabilities: capabilities})
	return shownToken(t), string(text), err
}

func (a *accounts) Tokens(ctx context.Context) ([]formats.AccountToken, error) {
	list, err := a.s.REST.Auth.Tokens(ctx, a.x.Identity, a.x.Identity.Name)
	if err != nil {
		return nil, err
	}
	out := make([]formats.AccountToken, 0, len(list))
	for _, t := range list {
		out = append(out, shownToken(t))
	}
	return out, nil
}

// CreateToken makes a token of the caller's, for reading only if wanted. The
// password is asked for again, as npm does.
func (a *accounts) CreateToken(ctx context.Context, password string, readOnly bool) (formats.AccountToken, string, error) {
	if _, err := a.Username(); err != nil {
		return formats.AccountToken{}, "", err
	}
	if _, err := a.s.REST.Auth.Login(ctx, a.x.Client, a.x.Identity.Name, auth.Secret(password)); err != nil {
		return formats.AccountToken{}, "", err
	}
	var limits *[]auth.Capability
	if readOnly {
		limits = &[]auth.Capability{{Capability: string(formats.VerbRead), Repo: "*"}}
	}
	return a.create(ctx, a.x.Identity, "npm token", limits)
}

// EndToken takes a token's text too, whose id is in it.
func (a *accounts) EndToken(ctx context.Context, token string) error {
	return a.s.REST.Auth.DeleteToken(ctx, a.x.Identity, auth.TokenID(token))
}

func shownToken(t auth.APIToken) formats.AccountToken {
	readOnly := len(t.Capabilities) > 0
	for _, c := range t.Capabilities {
		readOnly = readOnly && strings.EqualFold(c.Capability, string(formats.VerbRead))
	}
	return formats.AccountToken{ID: t.ID, Shown: "grn_" + t.ID, ReadOnly: readOnly, Created: t.CreatedAt}
}
