package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	// providerLife is how long what an issuer says of itself is believed; its
	// keys are read again whenever a token names an unknown one.
	providerLife = time.Hour
	// failureLife is how long an issuer that can't be asked is left alone: who
	// begins a log-in must not make us ask as often as he likes.
	failureLife  = 5 * time.Second
	maxProviders = 64
	maxSaid      = 1 << 20 // bytes of an issuer's answer
	// askTime bounds a question to an issuer.
	askTime = 10 * time.Second
	// maxIDToken is the longest ID token in bytes that is looked at.
	maxIDToken = 16 << 10
)

// algorithms that an issuer may sign with: those with a public key.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// providers remembers what issuers say of themselves (OpenID Connect
// Discovery).
type providers struct {
	http *http.Client
	now  func() time.Time
	asks singleflight.Group // by issuer

	mu    sync.Mutex // protects known
	known map[string]knownProvider
}

type knownProvider struct {
	*oidc.Provider
	said  discovery
	err   error // of asking; the provider is nil then
	until time.Time
}

// discovery is what an issuer says of itself beyond what the library keeps.
type discovery struct {
	TokenAuth []string `json:"token_endpoint_auth_methods_supported"`
	// NamesItself: answers to a log-in carry the issuer (RFC 9207).
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`
}

func newProviders(client *http.Client, now func() time.Time) *providers {
	short := *client
	short.Transport = shortAnswers{cmp.Or(client.Transport, http.DefaultTransport)}
	return &providers{http: &short, now: now, known: map[string]knownProvider{}}
}

// shortAnswers cuts answers off, which the library reads whole.
type shortAnswers struct{ http.RoundTripper }

func (t shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxSaid)
	}
	return res, err
}

// context lets the library ask through the client that guards addresses.
func (p *providers) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.http)
}

// get returns the provider at an issuer's URL.
func (p *providers) get(ctx context.Context, issuer string) (knownProvider, error) {
	p.mu.Lock()
	k, ok := p.known[issuer]
	p.mu.Unlock()
	if ok && p.now().Before(k.until) {
		return k, k.err
	}
	ctx = p.context(context.WithoutCancel(ctx)) // whoever else waits must not hear that the first one went
	found, _, _ := p.asks.Do(issuer, func() (any, error) { return p.ask(ctx, issuer), nil })
	k = found.(knownProvider)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxProviders {
		clear(p.known)
	}
	p.known[issuer] = k
	return k, k.err
}

func (p *providers) ask(ctx context.Context, issuer string) knownProvider {
	// The provider keeps the context for reading keys later.
	found, err := oidc.NewProvider(ctx, issuer)
	var said discovery
	if err == nil {
		err = found.Claims(&said)
	}
	if err == nil && !safeEndpoint(found.Endpoint().TokenURL) {
		err = errors.New("its token_endpoint is no https URL")
	}
	if err == nil && !safeEndpoint(found.Endpoint().AuthURL) {
		err = errors.New("its authorization_endpoint is no https URL")
	}
	if err != nil {
		return knownProvider{err: fmt.Errorf("%w: %s: %w", errIssuer, issuer, err), until: p.now().Add(failureLife)}
	}
	return knownProvider{Provider: found, said: said, until: p.now().Add(providerLife)}
}

// safeEndpoint is the rule of checkIssuer for where browsers and secrets are
// sent. An issuer without log-ins has no such endpoints.
func safeEndpoint(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return endpoint == "" || err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && local(u.Hostname()))
}

// client is granary as a client of the provider, which sends browsers back to
// redirect.
func (p *providers) client(ctx context.Context, l *ProviderLogin, redirect string) (*oauth2.Config, discovery, error) {
	k, err := p.get(ctx, l.Issuer)
	if err != nil {
		return nil, discovery{}, err
	}
	e := k.Endpoint()
	if e.AuthURL == "" || e.TokenURL == "" {
		return nil, discovery{}, fmt.Errorf("%w: %s lets nobody log in", errIssuer, l.Issuer)
	}
	// To try both ways would spend the code on the first.
	e.AuthStyle = oauth2.AuthStyleInHeader
	if l.ClientSecret == "" || len(k.said.TokenAuth) > 0 && !slices.Contains(k.said.TokenAuth, "client_secret_basic") {
		e.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: l.ClientID, ClientSecret: l.ClientSecret, Endpoint: e, RedirectURL: redirect,
		Scopes: append([]string{oidc.ScopeOpenID}, l.Scopes...),
	}, k.said, nil
}

// errIssuer is in the chain of what went wrong with asking an issuer.
var errIssuer = errors.New("the issuer can't be asked")

// verify checks signature, issuer, audience and times of an ID token.
func (p *providers) verify(ctx context.Context, issuer, audience, token string) (*oidc.IDToken, error) {
	if len(token) > maxIDToken {
		return nil, &CredentialError{Token, "the ID token is too long"}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	provider, err := p.get(ctx, issuer)
	if err != nil {
		return nil, err
	}
	v := provider.VerifierContext(p.context(ctx), &oidc.Config{ClientID: audience, Now: p.now, SupportedSigningAlgs: algorithms})
	id, err := v.Verify(ctx, token)
	if err != nil {
		// The library quotes what was sent, which is for the log.
		return nil, fmt.Errorf("%w: %w", &CredentialError{Token, "the ID token is not good"}, err)
	}
	return id, nil
}

// claimTexts returns a claim that is a text, a number or a truth value, or the
// texts in a list. "a.b" is the claim b in a, unless there is a claim "a.b".
func claimTexts(claims map[string]any, name string) []string {
	v, ok := claims[name]
	if !ok {
		head, rest, _ := strings.Cut(name, ".")
		inner, _ := claims[head].(map[string]any)
		if inner == nil || rest == "" {
			return nil
		}
		return claimTexts(inner, rest)
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case bool, float64:
		return []string{fmt.Sprint(v)}
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}
