package rest

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"granary/auth"
	"granary/httpapi/exchange"
)

// Token is an API token as clients see it; its text is in no answer but that
// to its making.
type Token struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Username     string        `json:"username"`
	Capabilities *[]Capability `json:"capabilities" doc:"What the token is limited to, within its user's rights; null: all of them."`
	CreatedAt    Timestamp     `json:"created_at"`
	ExpiresAt    Timestamp     `json:"expires_at"`
	LastUsedAt   Timestamp     `json:"last_used_at" doc:"Exact to a minute."`
}

// CreatedToken is a new token with its text.
type CreatedToken struct {
	Token
	Text string `json:"token" doc:"Shown once. Good as Bearer, and as the Basic password of any user name."`
}

// CreateTokenRequest is the body that makes a token.
type CreateTokenRequest struct {
	Name         string                 `json:"name"`
	Username     optional[string]       `json:"username,omitempty" doc:"A service account; for administrators."`
	ExpiresAt    optional[time.Time]    `json:"expires_at,omitempty"`
	Capabilities optional[[]Capability] `json:"capabilities,omitempty"`
}

func (a *api) tokens() {
	const tag = "tokens"
	register(a, operation{
		id: "list-tokens", method: http.MethodGet, path: "/tokens", summary: "List one's own API tokens, or as an administrator another user's", tag: tag,
	}, a.listTokens)
	register(a, operation{
		id: "create-token", method: http.MethodPost, path: "/tokens", summary: "Make an API token", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CreateTokenRequest](),
	}, a.createToken)
	register(a, operation{
		id: "delete-token", method: http.MethodDelete, path: "/tokens/{id}", summary: "End an API token", tag: tag, status: http.StatusNoContent,
	}, a.deleteToken)
}

func showToken(t auth.APIToken) Token {
	out := Token{
		ID: t.ID, Name: t.Name, Username: t.Username,
		CreatedAt: Timestamp(t.CreatedAt), ExpiresAt: Timestamp(t.ExpiresAt), LastUsedAt: Timestamp(t.LastUsedAt),
	}
	if t.Capabilities != nil {
		list := showCapabilities(t.Capabilities)
		out.Capabilities = &list
	}
	return out
}

type whose struct {
	Username string `query:"username"`
}

func (a *api) listTokens(ctx context.Context, x *exchange.Exchange, in *whose) (*answer[[]Token], error) {
	name := in.Username
	if name == "" {
		name = x.Identity.Name
	}
	if err := a.ownAccount(x, name); err != nil {
		return nil, err
	}
	list, err := a.Auth.Tokens(ctx, x.Identity, name)
	if err != nil {
		return nil, err
	}
	out := []Token{}
	for _, t := range list {
		out = append(out, showToken(t))
	}
	return &answer[[]Token]{out}, nil
}

// ownAccount is the decision about what a user may do with the own account, by
// a credential with all the user's rights, and administrators with any.
func (a *api) ownAccount(x *exchange.Exchange, name string) error {
	if x.Identity.Name == name && !x.Identity.Limited() {
		return x.LoggedIn()
	}
	return x.Administer()
}

func (a *api) createToken(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[CreatedToken], error) {
	if err := a.ownAccount(x, x.Identity.Name); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxLogin)
	if err != nil {
		return nil, err
	}
	if name := p.text("username"); name != "" {
		if err := a.ownAccount(x, name); err != nil {
			return nil, err
		}
	}
	var in CreateTokenRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	n := auth.NewAPIToken{Name: in.Name, Username: in.Username.value, ExpiresAt: in.ExpiresAt.value}
	if in.Capabilities.some() {
		list := capabilities(in.Capabilities.value)
		n.Capabilities = &list
	}
	t, text, err := a.Auth.CreateToken(ctx, x.Identity, n)
	if err != nil {
		return nil, err
	}
	return &answer[CreatedToken]{CreatedToken{showToken(t), string(text)}}, nil
}

type tokenID struct {
	ID string `path:"id"`
}

func (a *api) deleteToken(ctx context.Context, x *exchange.Exchange, in *tokenID) (*none, error) {
	if err := x.LoggedIn(); err != nil {
		return nil, err
	}
	id, err := segment(in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.Auth.DeleteToken(ctx, x.Identity, id)
}
