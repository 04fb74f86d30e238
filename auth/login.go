package auth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Session is the answer to a log-in.
type Session struct {
	// Token is to be sent to the client: string(Token).
	Token Secret
	// Life of the token from now on.
	Life               time.Duration
	MustChangePassword bool
}

// Login checks a name and a password that came from the peer's address and
// returns a new token. Errors are those of Authenticate.
func (s *Service) Login(ctx context.Context, peer, name string, password Secret) (Session, error) {
	u, err := s.verify(ctx, peer, name, password)
	if err != nil {
		return Session{}, err
	}
	return s.session(s.snapshot(), holder{user: u})
}

// Issue returns a new session of an identity with the rights that it has. One
// that was shown by an API token stays bound to it: the session has the token's
// limits and ends with it.
func (s *Service) Issue(id Identity) (Session, error) { return s.issue(id, nil) }

func (s *Service) issue(id Identity, scoped *scoped) (Session, error) {
	snap := s.snapshot()
	u := snap.users[id.Name]
	if u == nil {
		return Session{}, fmt.Errorf("user %q: %w", id.Name, ErrNotFound)
	}
	h := holder{user: u, scoped: scoped}
	if id.Token != "" {
		if h.token = s.living(snap, id.Token); h.token == nil || h.token.record.User != id.Name {
			return Session{}, &CredentialError{Token, "the token has ended"}
		}
	}
	return s.session(snap, h)
}

func (s *Service) session(snap *snapshot, h holder) (Session, error) {
	life := s.expiry()
	if h.token != nil && !h.token.expires.IsZero() {
		life = min(life, h.token.expires.Sub(s.now()))
	}
	token, err := s.sign(snap, h, life)
	if err != nil {
		return Session{}, fmt.Errorf("make a token: %w", err)
	}
	return Session{Token: token, Life: life, MustChangePassword: h.user.record.MustChange}, nil
}

// ChangePassword sets a user's password and ends the user's tokens. Who
// changes the own one shows the current one (else ErrForbidden) and gets a new
// token; an administrator may change that of others and gets none.
func (s *Service) ChangePassword(ctx context.Context, by Identity, name string, current, password Secret) (Session, error) {
	self := by.Name == name
	switch {
	case by.Anonymous():
		return Session{}, &CredentialError{Anonymous, "log in to change a password"}
	case !self && !by.Admin():
		return Session{}, fmt.Errorf("%w: only administrators change the passwords of others", ErrForbidden)
	}
	u := s.snapshot().users[name]
	if u == nil {
		return Session{}, fmt.Errorf("user %q: %w", name, ErrNotFound)
	}
	if !hasPassword(u.record) {
		return Session{}, invalid("username", "this user has no password here")
	}
	if err := checkPassword("new_password", string(password)); err != nil {
		return Session{}, err
	}
	if self {
		if err := s.confirm(ctx, by, u, current, password); err != nil {
			return Session{}, err
		}
	}
	if err := s.setPassword(ctx, name, password); err != nil {
		return Session{}, fmt.Errorf("change the password of %q: %w", name, err)
	}
	if !self {
		return Session{}, nil
	}
	return s.Issue(by)
}

// confirm checks the current password of a user who changes it.
func (s *Service) confirm(ctx context.Context, by Identity, u *user, current, password Secret) error {
	_, err := s.verify(ctx, by.Peer, by.Name, current)
	if errors.Is(err, ErrUnauthorized) {
		return fmt.Errorf("%w: the current password is wrong", ErrForbidden)
	}
	if err == nil && u.record.MustChange && current == password {
		return invalid("new_password", "must differ from the current one")
	}
	return err
}

// hasPassword tells whether a password of the user is kept here.
func hasPassword(rec *userRecord) bool { return rec.Source == builtin && rec.Name != AnonymousUser }

// setPassword replaces the password and with it the secret of the tokens.
func (s *Service) setPassword(ctx context.Context, name string, password Secret) error {
	apply, err := s.newPassword(ctx, password)
	if err != nil {
		return err
	}
	_, err = update(ctx, s.users(), userKey(name), func(rec *userRecord) error {
		rec.MustChange = false
		rec.Updated = s.now().UnixNano()
		return apply(rec)
	})
	if err != nil {
		return err
	}
	return s.changed(ctx)
}

// newPassword hashes once what a repeated update then applies.
func (s *Service) newPassword(ctx context.Context, password Secret) (func(*userRecord) error, error) {
	h, err := s.hasher.make(ctx, string(password))
	if err != nil {
		return nil, err
	}
	secret, err := s.newTokenSecret()
	if err != nil {
		return nil, err
	}
	return func(rec *userRecord) error {
		if rec.Source != builtin {
			return invalid("password", "this user has no password here")
		}
		rec.Hash, rec.Token = Secret(h.String()), secret
		return nil
	}, nil
}

func (s *Service) newTokenSecret() (sealedSecret, error) {
	plain, err := newSecret(s.random, secretSize)
	if err != nil {
		return sealedSecret{}, err
	}
	return s.seal(plain)
}

// RevokeTokens ends all sessions and API tokens of a user, who may do so like
// an administrator.
func (s *Service) RevokeTokens(ctx context.Context, by Identity, name string) error {
	if by.Anonymous() {
		return &CredentialError{Anonymous, "log in to revoke tokens"}
	}
	if !by.Admin() && (by.Name != name || by.MustChangePassword() || by.Limited()) {
		return fmt.Errorf("%w: only administrators revoke the tokens of others", ErrForbidden)
	}
	secret, err := s.newTokenSecret()
	if err != nil {
		return err
	}
	stamp, err := s.newStamp()
	if err != nil {
		return err
	}
	_, err = update(ctx, s.users(), userKey(name), func(rec *userRecord) error {
		rec.Token, rec.Stamp = secret, stamp
		rec.Updated = s.now().UnixNano()
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke tokens of user %q: %w", name, err)
	}
	return s.changed(ctx)
}
