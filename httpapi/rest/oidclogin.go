package rest

import (
	"context"
	"net/http"
	"strings"

	"granary/auth"
	"granary/httpapi/exchange"
)

const (
	callbackPath = Prefix + "/auth/oidc/callback"
	// stateCookie keeps the state of a log-in while its user is at the provider.
	// It is the only cookie that the server sets. Over https its name makes
	// browsers refuse one that another host of the domain has planted.
	stateCookie       = "granary_oidc"
	secureStateCookie = "__Host-" + stateCookie
	stateCookieLife   = 600 // seconds
)

func (a *api) providerLogin() {
	const tag = "auth"
	register(a, operation{
		id: "login-oidc", method: http.MethodGet, path: "/auth/oidc/login", tag: tag, status: http.StatusFound,
		summary: "Send a browser to the OIDC provider to log in",
	}, a.beginLogin)
	register(a, operation{
		id: "finish-oidc", method: http.MethodGet, path: "/auth/oidc/callback", tag: tag,
		summary: "Get a token when the browser comes back from the OIDC provider",
	}, a.finishLogin)
}

// setState keeps or, if it is empty, removes the state in the browser.
func setState(x *exchange.Exchange, state auth.Secret) {
	c := http.Cookie{
		Name: stateCookie, Value: string(state), Path: "/", MaxAge: stateCookieLife, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(x.Base(), "https://"),
	}
	if c.Secure {
		c.Name = secureStateCookie
	}
	if state == "" {
		c.MaxAge = -1
	}
	x.Header().Add("Set-Cookie", c.String())
}

func keptState(x *exchange.Exchange) auth.Secret {
	name := stateCookie
	if strings.HasPrefix(x.Base(), "https://") {
		name = secureStateCookie
	}
	c, err := x.Request().Cookie(name)
	if err != nil {
		return ""
	}
	return auth.Secret(c.Value)
}

// away sends a browser to the provider.
type away struct {
	Status   int
	Location string `header:"Location"`
}

func (a *api) beginLogin(ctx context.Context, x *exchange.Exchange, _ *none) (*away, error) {
	url, state, err := a.Auth.BeginLogin(ctx, x.Base()+callbackPath)
	if err != nil {
		return nil, err
	}
	setState(x, state)
	return &away{Status: http.StatusFound, Location: url}, nil
}

// callback is what a provider sends back with the browser.
type callback struct {
	Code   string `query:"code"`
	State  string `query:"state"`
	Issuer string `query:"iss" doc:"RFC 9207"`
	Error  string `query:"error"`
}

func (a *api) finishLogin(ctx context.Context, x *exchange.Exchange, in *callback) (*answer[Session], error) {
	x.LogIn = true
	setState(x, "")
	back := auth.Returned{Code: in.Code, State: in.State, Issuer: in.Issuer, Error: in.Error}
	s, err := a.Auth.FinishLogin(ctx, keptState(x), back, x.Base()+callbackPath)
	x.Subject = s.Username
	if err != nil {
		// A browser must not ask its user for a password.
		x.Header().Set("Www-Authenticate", "Bearer")
		return nil, err
	}
	return &answer[Session]{Session{string(s.Token), s.MustChangePassword}}, nil
}
