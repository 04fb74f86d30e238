package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
)

const (
	provider = "oidc" // source of users whom an OIDC provider knows

	// loginLife is how long a log-in at the provider may take.
	loginLife = 10 * time.Minute
	// atProviderOnce is how many codes are exchanged at the same time.
	atProviderOnce = 16
	maxCode        = 4096 // bytes of a code
)

// ProviderUser is the kind of users whom an OIDC provider knows.
const ProviderUser UserKind = provider

// ErrNoProvider is returned for a log-in where no provider is configured; it is
// an [ErrNotFound].
var ErrNoProvider = fmt.Errorf("no OIDC provider to log in with: %w", ErrNotFound)

// ErrProviderDown is returned for a log-in while the provider can't be asked, or
// answers what can't be believed; 502.
var ErrProviderDown = errors.New("the OIDC provider can't be asked")

var errNotBegun = invalid("state", "the log-in was not begun by this browser, took too long, or is over")

// loginState is what the browser keeps while its user is at the provider. It is
// signed, so that nobody can make one up, and good once.
type loginState struct {
	jwt.RegisteredClaims        // Issuer is the provider that the browser was sent to
	State                string `json:"state"`
	Nonce                string `json:"nonce"`
	Verifier             string `json:"verifier"` // of PKCE, RFC 7636
}

// stateKey signs log-ins that have begun. It is no key of sessions.
func stateKey(cluster key) []byte {
	h := hmac.New(sha256.New, cluster)
	h.Write([]byte("granary oidc state 1")) //nolint:errcheck // hash.Hash never returns an error
	return h.Sum(nil)
}

func (s *Service) loginProvider() (*ProviderLogin, error) {
	o := s.snapshot().oidc
	if o == nil || o.Login == nil {
		return nil, ErrNoProvider
	}
	return o.Login, nil
}

// BeginLogin returns where a browser has to go to log in with the provider, and
// what it has to show when it comes back to redirect. ErrNoProvider where none
// is configured.
func (s *Service) BeginLogin(ctx context.Context, redirect string) (url string, state Secret, err error) {
	l, err := s.loginProvider()
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, _, err := s.providers.client(ctx, l, redirect)
	if err != nil {
		return "", "", s.loginError(ctx, err)
	}
	st := loginState{RegisteredClaims: jwt.RegisteredClaims{
		Issuer: l.Issuer, ExpiresAt: jwt.NewNumericDate(s.now().Add(loginLife)),
	}}
	for _, part := range []*string{&st.State, &st.Nonce, &st.Verifier} {
		random, err := newSecret(s.random, secretSize)
		if err != nil {
			return "", "", err
		}
		*part = base64.RawURLEncoding.EncodeToString(random)
	}
	k := s.snapshot().current()
	if k == nil {
		return "", "", errors.New("no signing key: not bootstrapped")
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, &st)
	t.Header["kid"] = k.id
	signed, err := t.SignedString(stateKey(k.secret))
	if err != nil {
		return "", "", fmt.Errorf("sign the state of a log-in: %w", err)
	}
	return c.AuthCodeURL(st.State, oidc.Nonce(st.Nonce), oauth2.S256ChallengeOption(st.Verifier)), Secret(signed), nil
}

// Returned is what a browser brings back from the provider.
type Returned struct {
	Code, State string
	Issuer      string // RFC 9207; "" where the provider does not send it
	Error       string // "" if the provider let the user in
}

// FinishLogin exchanges the code that a browser brings back for a session. kept
// is what BeginLogin gave the browser. A state that is not the browser's own is
// ErrInvalid, whatever else is wrong with the answer or the ID token
// ErrUnauthorized, and a user without a mapped group ErrForbidden. The session
// names the user, as far as known, also beside an error.
func (s *Service) FinishLogin(ctx context.Context, kept Secret, back Returned, redirect string) (Session, error) {
	l, err := s.loginProvider()
	if err != nil {
		return Session{}, err
	}
	st, err := s.openState(ctx, kept)
	if err != nil {
		return Session{}, err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(st.State), []byte(back.State)) != 1 || st.Issuer != l.Issuer:
		return Session{}, errNotBegun
	case back.Issuer != "" && back.Issuer != l.Issuer:
		return Session{}, &CredentialError{Token, "the answer is another provider's"}
	case back.Error != "" || back.Code == "" || len(back.Code) > maxCode:
		return Session{}, &CredentialError{Token, "the provider refused the log-in"}
	}
	select {
	case s.finishing <- struct{}{}:
		defer func() { <-s.finishing }()
	default:
		return Session{}, ErrBusy
	}
	// A state is taken once, whatever comes of it.
	if err := s.useOnce(ctx, kept, st.ExpiresAt.Time); err != nil {
		if errors.Is(err, ErrUnauthorized) {
			return Session{}, errNotBegun
		}
		return Session{}, err
	}
	id, err := s.redeem(ctx, l, st, back, redirect)
	if err != nil {
		return Session{}, s.loginError(ctx, err)
	}
	return s.providerSession(ctx, l, id)
}

// redeem returns the ID token that the provider gives for a code.
func (s *Service) redeem(ctx context.Context, l *ProviderLogin, st *loginState, back Returned, redirect string) (*oidc.IDToken, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, said, err := s.providers.client(ctx, l, redirect)
	if err != nil {
		return nil, err
	}
	if said.NamesItself && back.Issuer == "" {
		return nil, &CredentialError{Token, "the answer does not say which provider it is from"}
	}
	tokens, err := c.Exchange(s.providers.context(ctx), back.Code, oauth2.VerifierOption(st.Verifier))
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) {
		// What else the provider answers is for the log.
		return nil, fmt.Errorf("%w: %w", &CredentialError{Token, "the provider does not take the code"}, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: exchange a code: %w", errIssuer, err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := s.providers.verify(ctx, l.Issuer, l.ClientID, raw)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(st.Nonce)) != 1 {
		return nil, &CredentialError{Token, "the ID token is of another log-in"}
	}
	return id, nil
}

// loginError is providerError for people, who hear what is wrong.
func (s *Service) loginError(ctx context.Context, err error) error {
	if errors.Is(err, errIssuer) {
		s.log.WarnContext(ctx, "log-in with a provider", "error", err)
		return ErrProviderDown
	}
	return s.providerError(ctx, err)
}

// openState returns a state that was signed here and has not ended.
func (s *Service) openState(ctx context.Context, kept Secret) (*loginState, error) {
	parse := func() (*loginState, error) {
		snap, st := s.snapshot(), new(loginState)
		_, err := s.parser.ParseWithClaims(string(kept), st, func(t *jwt.Token) (any, error) {
			id, _ := t.Header["kid"].(string)
			k := snap.key(id)
			if k == nil {
				return nil, errKeyID
			}
			return stateKey(k.secret), nil
		})
		return st, err
	}
	st, err := parse()
	if errors.Is(err, errKeyID) && s.mayReload() {
		// Another node may have rotated the key a moment ago.
		if err := s.Load(ctx); err != nil {
			return nil, fmt.Errorf("unknown signing key: %w", err)
		}
		st, err = parse()
	}
	if err != nil || st.State == "" {
		return nil, errNotBegun
	}
	return st, nil
}

// providerSession makes a session of the user whom an ID token tells. A name
// stays the subject's who came with it first: at many providers people may call
// themselves as they like.
func (s *Service) providerSession(ctx context.Context, l *ProviderLogin, id *oidc.IDToken) (Session, error) {
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return Session{}, &CredentialError{Token, "the ID token's claims can't be read"}
	}
	if azp, ok := claims["azp"]; (ok || len(id.Audience) > 1) && azp != l.ClientID {
		// OpenID Connect Core, 3.1.3.7.
		return Session{}, &CredentialError{Token, "the ID token was issued for another client"}
	}
	names := claimTexts(claims, l.UsernameClaim)
	if len(names) != 1 || !validName.MatchString(names[0]) {
		return Session{}, &CredentialError{Token, "the ID token has no user name that can be used here"}
	}
	if verified, ok := claims["email_verified"]; l.UsernameClaim == "email" && ok && verified != true {
		return Session{}, &CredentialError{Token, "the provider has not verified the address"}
	}
	out := Session{Username: names[0]}
	roles, subject := l.roles(claimTexts(claims, l.GroupsClaim), s.snapshot()), subjectOf(l.Issuer, id.Subject)
	if len(roles) == 0 {
		// Who was let in before has no rights from now on.
		if u := s.snapshot().users[out.Username]; u != nil && u.record.Source == provider && u.record.Subject == subject {
			if _, err := s.admit(ctx, out.Username, provider, subject, nil); err != nil {
				return out, err
			}
		}
		return out, fmt.Errorf("%w: none of your groups has a role here", ErrForbidden)
	}
	u, err := s.admit(ctx, out.Username, provider, subject, roles)
	if err != nil {
		return out, err
	}
	session, err := s.session(s.snapshot(), holder{user: u})
	session.Username = out.Username
	return session, err
}

// roles that groups, by their exact names, lead to.
func (l *ProviderLogin) roles(groups []string, snap *snapshot) []string {
	var roles []string
	for _, g := range groups {
		if role, ok := l.GroupRoles[g]; ok && snap.roles[role] != nil && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}

// subjectOf is who somebody is at a provider: a sub is unique at its issuer.
func subjectOf(issuer, sub string) string { return issuer + " " + sub }

// knows tells whether the subject of a user is one of this provider.
func (l *ProviderLogin) knows(subject string) bool { return strings.HasPrefix(subject, l.Issuer+" ") }
