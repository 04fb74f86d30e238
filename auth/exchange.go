package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"granary/kv"
)

// Exchange takes an ID token of an issuer that the OIDC settings trust and
// returns a session of the service account that the first fitting rule names.
// A token is taken once. What is wrong with it is ErrUnauthorized; a good one
// that no rule fits is ErrForbidden.
func (s *Service) Exchange(ctx context.Context, token Secret) (Session, error) {
	issuer, audiences, err := unverified(string(token))
	if err != nil {
		return Session{}, err
	}
	snap := s.snapshot()
	var trusted []*Workload
	if snap.oidc != nil {
		for i := range snap.oidc.Workloads {
			w := &snap.oidc.Workloads[i]
			// Which keys it is verified with follows from the settings; the
			// token only says which of them to try.
			if w.Issuer == issuer && slices.Contains(audiences, w.Audience) {
				trusted = append(trusted, w)
			}
		}
	}
	if len(trusted) == 0 {
		return Session{}, &CredentialError{Token, "the ID token's issuer and audience are not trusted"}
	}
	id, err := s.providers.verify(ctx, issuer, trusted[0].Audience, string(token))
	if err != nil {
		return Session{}, s.providerError(ctx, err)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return Session{}, &CredentialError{Token, "the ID token's claims can't be read"}
	}
	for _, w := range trusted {
		if w.Audience == trusted[0].Audience && w.fits(claims) {
			if err := s.useOnce(ctx, token, id.Expiry); err != nil {
				return Session{}, err
			}
			return s.workloadSession(snap, w)
		}
	}
	return Session{}, fmt.Errorf("%w: no rule fits the ID token of %.200q", ErrForbidden, id.Subject)
}

// unverified reads whom a token says it is from and for. Nothing is believed
// of it.
func unverified(token string) (issuer string, audiences []string, err error) {
	bad := &CredentialError{Token, "not an ID token"}
	if len(token) > maxIDToken {
		return "", nil, bad
	}
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return "", nil, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return "", nil, bad
	}
	var c struct {
		Issuer   string          `json:"iss"`
		Audience json.RawMessage `json:"aud"`
	}
	if json.Unmarshal(b, &c) != nil {
		return "", nil, bad
	}
	var one string
	if json.Unmarshal(c.Audience, &one) == nil {
		return c.Issuer, []string{one}, nil
	}
	if json.Unmarshal(c.Audience, &audiences) != nil {
		return "", nil, bad
	}
	return c.Issuer, audiences, nil
}

// usedRecord is written under kv.UsedToken.
type usedRecord struct {
	kv.Extra `cbor:"-"`
	At       int64 `cbor:"1,keyasint,omitempty"` // Unix seconds
}

// useOnce refuses a token that was used before, on any node.
func (s *Service) useOnce(ctx context.Context, token Secret, expires time.Time) error {
	// The signed part: a signature may have more than one spelling.
	signed := string(token[:strings.LastIndexByte(string(token), '.')])
	sum := sha256.Sum256([]byte(signed))
	t := kv.Table[usedRecord]{Store: s.kv, Expires: func(usedRecord) time.Time { return expires.Add(time.Hour) }}
	_, err := t.Create(ctx, kv.UsedToken(hex.EncodeToString(sum[:])), usedRecord{At: s.now().Unix()})
	if errors.Is(err, kv.ErrConflict) {
		return &CredentialError{Token, "the ID token was used before"}
	}
	if err != nil {
		return fmt.Errorf("note that an ID token was used: %w", err)
	}
	return nil
}

func (s *Service) workloadSession(snap *snapshot, w *Workload) (Session, error) {
	u := snap.users[w.Username]
	if u == nil || u.record.Source != service {
		return Session{}, fmt.Errorf("%w: the rule's service account %q is gone", ErrForbidden, w.Username)
	}
	token, err := s.sign(snap, holder{user: u}, w.Life)
	if err != nil {
		return Session{}, fmt.Errorf("make a token: %w", err)
	}
	return Session{Token: token, Life: w.Life, Username: w.Username}, nil
}

// providerError hides from the client, and tells the log, why an issuer could
// not be asked or a token was refused.
func (s *Service) providerError(ctx context.Context, err error) error {
	var refused *CredentialError
	if errors.As(err, &refused) {
		s.log.InfoContext(ctx, "an ID token is refused", "error", err)
		return refused
	}
	s.log.WarnContext(ctx, "ask an issuer", "error", err)
	return &CredentialError{Token, "the issuer can't be asked"}
}
