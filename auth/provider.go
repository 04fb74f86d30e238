package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// providerLife is how long what an issuer says of itself is believed; its
	// keys are read again whenever a token names an unknown one.
	providerLife = time.Hour
	maxProviders = 64
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
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex // protects known
	known map[string]knownProvider
}

type knownProvider struct {
	*oidc.Provider
	until time.Time
}

func newProviders(client *http.Client, now func() time.Time) *providers {
	return &providers{client: client, now: now, known: map[string]knownProvider{}}
}

// context lets the library ask through the client that guards addresses.
func (p *providers) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, p.client)
}

// get returns the provider at an issuer's URL.
func (p *providers) get(ctx context.Context, issuer string) (*oidc.Provider, error) {
	p.mu.Lock()
	k, ok := p.known[issuer]
	p.mu.Unlock()
	if ok && p.now().Before(k.until) {
		return k.Provider, nil
	}
	// The provider keeps the context for reading keys later.
	found, err := oidc.NewProvider(p.context(context.WithoutCancel(ctx)), issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errIssuer, issuer, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxProviders {
		clear(p.known)
	}
	p.known[issuer] = knownProvider{found, p.now().Add(providerLife)}
	return found, nil
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
