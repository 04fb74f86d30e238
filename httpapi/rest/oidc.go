package rest

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"granary/auth"
	"granary/httpapi/exchange"
)

// OIDC is which OpenID Connect providers are trusted, as clients see it.
type OIDC struct {
	Login     *OIDCLogin `json:"login" doc:"What people log in with."`
	Workloads []Workload `json:"workloads" nullable:"false"`
}

// OIDCLogin is the provider that people log in with.
type OIDCLogin struct {
	Issuer           string            `json:"issuer"`
	ClientID         string            `json:"client_id"`
	ClientSecret     *string           `json:"client_secret" doc:"Masked."`
	Scopes           []string          `json:"scopes" nullable:"false" doc:"Beside openid."`
	UsernameClaim    string            `json:"username_claim"`
	GroupsClaim      string            `json:"groups_claim"`
	GroupRoleMapping map[string]string `json:"group_role_mapping" nullable:"false"`
}

// OIDCLoginRequest sets the provider; what is absent gets its default.
type OIDCLoginRequest struct {
	Issuer           string                      `json:"issuer" doc:"The iss of the tokens, an https URL."`
	ClientID         string                      `json:"client_id"`
	ClientSecret     optional[string]            `json:"client_secret,omitempty" doc:"******** keeps the one that is stored; none: a public client."`
	Scopes           optional[[]string]          `json:"scopes,omitempty" doc:"Beside openid."`
	UsernameClaim    optional[string]            `json:"username_claim,omitempty" doc:"preferred_username by default."`
	GroupsClaim      optional[string]            `json:"groups_claim,omitempty" doc:"groups by default."`
	GroupRoleMapping optional[map[string]string] `json:"group_role_mapping,omitempty" doc:"Groups, by their exact names, and the roles they give. Who has none of them is not let in."`
}

// Workload is a rule by which an ID token becomes a session of a service
// account.
type Workload struct {
	Issuer      string            `json:"issuer" doc:"The iss of the tokens, an https URL."`
	Audience    string            `json:"audience" doc:"The aud of the tokens."`
	Claims      map[string]string `json:"claims" nullable:"false" doc:"Claims and the globs (* and ?) that they must fit, all of them; a.b is the claim b in a."`
	Username    string            `json:"username" doc:"A service account."`
	ExpiresSecs int64             `json:"expires_secs" doc:"How long the session lives, 60 to 86400."`
}

// OIDCRequest sets the providers.
type OIDCRequest struct {
	Login     optional[OIDCLoginRequest] `json:"login,omitempty"`
	Workloads optional[[]Workload]       `json:"workloads,omitempty"`
}

// OIDCExchangeRequest is the body of an exchange.
type OIDCExchangeRequest struct {
	Token string `json:"token" doc:"The ID token."`
}

// OIDCExchange is what an ID token was exchanged for.
type OIDCExchange struct {
	Token     string `json:"token" doc:"Good as Bearer."`
	ExpiresIn int64  `json:"expires_in" doc:"Seconds."`
}

func (a *api) providers() {
	const tag, path = "settings", "/settings/oidc"
	register(a, operation{id: "get-oidc", method: http.MethodGet, path: path, summary: "Get the OIDC settings, null if there are none", tag: tag}, a.getOIDC)
	register(a, operation{
		id: "replace-oidc", method: http.MethodPut, path: path, summary: "Set which OIDC providers are trusted", tag: tag, reads: reflect.TypeFor[OIDCRequest](),
	}, a.replaceOIDC)
	register(a, operation{
		id: "delete-oidc", method: http.MethodDelete, path: path, summary: "Trust no OIDC provider", tag: tag, status: http.StatusNoContent,
	}, func(ctx context.Context, x *exchange.Exchange, _ *none) (*none, error) {
		if err := x.Administer(); err != nil {
			return nil, err
		}
		return nil, a.Auth.RemoveProviders(ctx)
	})
	register(a, operation{
		id: "exchange-oidc", method: http.MethodPost, path: "/auth/oidc/exchange", tag: "auth", reads: reflect.TypeFor[OIDCExchangeRequest](),
		summary: "Exchange a trusted issuer's ID token for a short-lived token",
	}, a.exchangeOIDC)
}

func showOIDC(o auth.OIDC) *OIDC {
	out := &OIDC{Workloads: make([]Workload, 0, len(o.Workloads))}
	if l := o.Login; l != nil {
		out.Login = &OIDCLogin{l.Issuer, l.ClientID, nil, orEmpty(l.Scopes), l.UsernameClaim, l.GroupsClaim, l.GroupRoles}
		if l.GroupRoles == nil {
			out.Login.GroupRoleMapping = map[string]string{}
		}
		if l.ClientSecret != "" {
			out.Login.ClientSecret = filled(auth.Mask)
		}
	}
	for _, w := range o.Workloads {
		out.Workloads = append(out.Workloads, Workload{w.Issuer, w.Audience, w.Claims, w.Username, int64(w.Life / time.Second)})
	}
	return out
}

func (a *api) getOIDC(_ context.Context, x *exchange.Exchange, _ *none) (*answer[*OIDC], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	if o, ok := a.Auth.Providers(); ok {
		return &answer[*OIDC]{showOIDC(o)}, nil
	}
	return &answer[*OIDC]{}, nil
}

func (a *api) replaceOIDC(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[*OIDC], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var in OIDCRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	o := in.providers()
	if l := o.Login; l != nil && l.ClientSecret == auth.Mask {
		old, ok := a.Auth.Providers()
		if !ok || old.Login == nil || old.Login.Issuer != l.Issuer {
			// It is not sent to a provider that it was not given for.
			return nil, invalid("login.client_secret", "must be given with a new issuer")
		}
		l.ClientSecret = old.Login.ClientSecret
	}
	if err := a.Auth.SetProviders(ctx, o); err != nil {
		return nil, err
	}
	return &answer[*OIDC]{showOIDC(o)}, nil
}

func (in *OIDCRequest) providers() auth.OIDC {
	var o auth.OIDC
	if in.Login.some() {
		l := in.Login.value
		o.Login = &auth.ProviderLogin{
			Issuer: l.Issuer, ClientID: l.ClientID, ClientSecret: l.ClientSecret.value, Scopes: l.Scopes.value, UsernameClaim: l.UsernameClaim.value,
			GroupsClaim: l.GroupsClaim.value, GroupRoles: l.GroupRoleMapping.value,
		}
	}
	for _, w := range in.Workloads.value {
		// So that it does not run over as a duration.
		w.ExpiresSecs = min(max(w.ExpiresSecs, 0), 1<<30)
		o.Workloads = append(o.Workloads, auth.Workload{
			Issuer: w.Issuer, Audience: w.Audience, Claims: w.Claims, Username: w.Username, Life: time.Duration(w.ExpiresSecs) * time.Second,
		})
	}
	return o
}

// exchangeOIDC is for everybody: the token in the body is what is judged.
func (a *api) exchangeOIDC(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[OIDCExchange], error) {
	p, err := a.read(x, maxLogin)
	if err != nil {
		return nil, err
	}
	var in OIDCExchangeRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	s, err := a.Auth.Exchange(ctx, auth.Secret(in.Token))
	if err != nil {
		return nil, err
	}
	x.Subject = s.Username
	return &answer[OIDCExchange]{OIDCExchange{string(s.Token), int64(s.Life / time.Second)}}, nil
}
