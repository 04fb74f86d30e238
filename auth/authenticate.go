package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"granary/kv"
)

// Authenticate tells who sent a request: the user anonymous if it carries no
// credentials, else the user they belong to. ErrUnauthorized if they belong to
// nobody, ErrLocked after too many failures, ErrBusy when too many passwords
// are being checked; other errors mean that it could not be told.
func (s *Service) Authenticate(ctx context.Context, r *http.Request) (Identity, error) {
	return s.AuthenticateFor(ctx, r, "")
}

// AuthenticateFor is Authenticate on a surface that has tokens of its own,
// those that [Service.IssueScoped] made for the audience.
func (s *Service) AuthenticateFor(ctx context.Context, r *http.Request, audience string) (Identity, error) {
	peer := s.peer(r)
	c, err := parseHeader(r.Header)
	if err != nil {
		return Identity{}, err
	}
	switch c.method {
	case Basic:
		switch {
		case isAPIToken(c.secret):
			return s.byAPIToken(c.secret, peer)
		case isSession(c.secret):
			return s.bearer(ctx, c.secret, peer, audience)
		}
		u, err := s.verify(ctx, peer, c.name, c.secret)
		if err != nil {
			return Identity{}, err
		}
		return u.identity(Basic, peer), nil
	case JWT:
		return s.bearer(ctx, c.secret, peer, audience)
	default:
		return s.anonymous(peer), nil
	}
}

// AuthenticateToken tells who a session's or API token belongs to that stood in
// a header of a format's own. Errors are those of Authenticate.
func (s *Service) AuthenticateToken(ctx context.Context, r *http.Request, token Secret) (Identity, error) {
	if token == "" || len(token) > maxCredential {
		return Identity{}, &CredentialError{Token, "not a token"}
	}
	return s.bearer(ctx, token, s.peer(r), "")
}

func (s *Service) bearer(ctx context.Context, token Secret, peer, audience string) (Identity, error) {
	if isAPIToken(token) {
		return s.byAPIToken(token, peer)
	}
	h, err := s.verifyToken(ctx, token, audience)
	if err != nil {
		return Identity{}, err
	}
	return h.identity(JWT, peer), nil
}

// anonymous has no rights if its record is missing.
func (s *Service) anonymous(peer string) Identity {
	if u := s.snapshot().users[AnonymousUser]; u != nil {
		return u.identity(Anonymous, peer)
	}
	return Identity{Name: AnonymousUser, Method: Anonymous, Peer: peer}
}

// verifyToken loads first if the token was signed with a key that is not
// known here: another node may have rotated it a moment ago.
func (s *Service) verifyToken(ctx context.Context, token Secret, audience string) (holder, error) {
	f := s.tokens.fingerprint(string(token))
	if p, ok := s.tokens.find(f); ok && p.scoped.meantFor(audience) {
		if h, ok := s.stillGood(p); ok {
			return h, nil
		}
	}
	p, err := s.prove(s.snapshot(), token, audience)
	if errors.Is(err, errKeyID) && s.mayReload() {
		if err := s.Load(ctx); err != nil {
			return holder{}, fmt.Errorf("unknown signing key: %w", err)
		}
		p, err = s.prove(s.snapshot(), token, audience)
	}
	if err != nil {
		return holder{}, tokenError(err)
	}
	h, ok := s.stillGood(p)
	if !ok { // changed since the snapshot that it was proved with
		return holder{}, tokenError(jwt.ErrTokenInvalidClaims)
	}
	s.tokens.add(f, p)
	return h, nil
}

// stillGood returns who holds the token as it is now if nothing has changed
// since that could make it a bad one.
func (s *Service) stillGood(p proof) (holder, bool) {
	snap := s.snapshot()
	u := snap.users[p.user.record.Name]
	if u == nil || u.version != p.user.version || snap.key(p.key) == nil || !s.now().Before(p.expires) {
		return holder{}, false
	}
	return s.bound(snap, p)
}

// bound adds the API token that a session depends on, if that still lives.
func (s *Service) bound(snap *snapshot, p proof) (holder, bool) {
	h := holder{user: snap.users[p.user.record.Name], scoped: p.scoped}
	if h.user == nil || snap.homeless(h.user) {
		return holder{}, false
	}
	if p.token != "" {
		if h.token = s.living(snap, p.token); h.token == nil || h.token.record.User != h.user.record.Name {
			return holder{}, false
		}
	}
	return h, true
}

// mayReload is true once a second, so that made-up key ids cost nothing.
func (s *Service) mayReload() bool {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	now := s.now()
	if since := now.Sub(s.reloaded); since >= 0 && since < time.Second {
		return false
	}
	s.reloaded = now
	return true
}

// verify checks a name and a password. It is the only place that does.
func (s *Service) verify(ctx context.Context, peer, name string, password Secret) (*user, error) {
	// First, also for passwords that are remembered: an answer to a right
	// guess must not differ while guessing is stopped.
	if err := s.lockout.check(name, peer); err != nil {
		return nil, err
	}
	snap := s.snapshot()
	u := snap.users[name]
	if inDirectory(snap, u) {
		return s.verifyInDirectory(ctx, snap, peer, name, password)
	}
	var stored string
	var version kv.Version
	if u != nil && u.record.Source == builtin && (snap.ldap == nil || snap.ldap.Fallback || u.rights.admin) {
		stored, version = string(u.record.Hash), u.version
	}
	f := s.verified.fingerprint(name, string(version), string(password))
	if _, known := s.verified.find(f); !known || stored == "" {
		ok, err := s.checkOnce(ctx, f, stored, string(password))
		if err != nil {
			return nil, fmt.Errorf("check a password: %w", err)
		}
		if !ok {
			return nil, s.refuse(name, peer)
		}
		s.verified.add(f, struct{}{})
		s.rehash(ctx, u, password)
	}
	s.lockout.succeeded(name, peer)
	return u, nil
}

// wrongPassword is all that a client hears of a name and a password.
const wrongPassword = "wrong user name or password"

func (s *Service) refuse(name, peer string) error {
	if err := s.lockout.failed(name, peer); err != nil {
		return err
	}
	return &CredentialError{Basic, wrongPassword}
}

// checkOnce lets requests that bring the same password at the same time share
// one check, which must not fail for all when the first of them goes away.
func (s *Service) checkOnce(ctx context.Context, f fingerprint, stored, password string) (bool, error) {
	ok, err, _ := s.checks.Do(string(f[:]), func() (any, error) {
		return s.hasher.check(context.WithoutCancel(ctx), stored, password)
	})
	if err != nil {
		return false, err
	}
	return ok.(bool), nil
}

// rehash stores a password that was just verified under today's cost. It is
// tried again at the next log-in if it fails now.
func (s *Service) rehash(ctx context.Context, u *user, password Secret) {
	if !s.hasher.outdated(string(u.record.Hash)) {
		return
	}
	h, err := s.hasher.make(ctx, string(password))
	if err != nil {
		return
	}
	rec := *u.record
	rec.Hash = Secret(h.String())
	if _, err := s.users().Replace(ctx, userKey(rec.Name), rec, u.version); err != nil {
		return
	}
	// Other nodes may keep the old hash until they load: it is of the same
	// password.
	_ = s.Load(ctx)
}
