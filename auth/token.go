package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	defaultExpiry = 24 * time.Hour
	secretSize    = 32 // bytes of cluster and user secrets
)

var (
	errKeyID    = errors.New("unknown signing key")
	errAudience = errors.New("token is meant for something else")
)

// claims of a token. A token with an audience is good for one surface only
// and refused everywhere else.
type claims struct {
	Subject  string          `json:"sub"`
	IssuedAt int64           `json:"iat"` // Unix seconds
	Expires  int64           `json:"exp"`
	Audience json.RawMessage `json:"aud,omitempty"`
	// Token is the id of the API token that the session was made with.
	Token string `json:"tok,omitempty"`
	// Access is what a token with an audience is good for.
	Access []Scope `json:"access,omitempty"`

	audience string // that is asked for, "" for none
}

// isSession tells what has the form of a session's token, and of no password
// that somebody would have: clients that know a name and a password only send
// it as the password, with any name.
func isSession(s Secret) bool {
	header, rest, ok := strings.Cut(string(s), ".")
	if !ok || strings.Count(rest, ".") != 1 {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(header)
	var h struct {
		Algorithm string `json:"alg"`
	}
	return err == nil && json.Unmarshal(b, &h) == nil && h.Algorithm == jwt.SigningMethodHS256.Alg()
}

// maxDate in Unix seconds is in the year 6325, where time.Time is still exact.
const maxDate = math.MaxInt32 * 64

func date(seconds int64) (*jwt.NumericDate, error) {
	if seconds <= 0 || seconds > maxDate {
		return nil, jwt.ErrTokenInvalidClaims
	}
	return &jwt.NumericDate{Time: time.Unix(seconds, 0)}, nil
}

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.Expires) }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.IssuedAt) }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (c *claims) GetIssuer() (string, error)                   { return "", nil }
func (c *claims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// Validate is called by the parser after the signature was found right.
func (c *claims) Validate() error {
	if c.Audience == nil {
		return nil
	}
	var meant string
	if json.Unmarshal(c.Audience, &meant) != nil || meant == "" || meant != c.audience {
		return errAudience
	}
	return nil
}

// newParser takes HS256 and nothing else. Clocks of nodes may differ, so that
// a token's time of issue is not compared.
func newParser(now func() time.Time) *jwt.Parser {
	return jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithTimeFunc(now), jwt.WithExpirationRequired(), jwt.WithStrictDecoding())
}

// signing returns the key of a user's tokens. Either secret alone is useless.
func signing(cluster key, name string, user key) []byte {
	h := hmac.New(sha256.New, cluster)
	fmt.Fprintf(h, "granary token 1 %d %s %d ", len(name), name, len(user))
	h.Write(user) //nolint:errcheck // hash.Hash never returns an error
	return h.Sum(nil)
}

// sign makes a session of who was recognised that is good for a time.
func (s *Service) sign(snap *snapshot, holds holder, life time.Duration) (_ Secret, err error) {
	u := holds.user
	k := snap.current()
	if k == nil {
		return "", errors.New("no signing key: not bootstrapped")
	}
	if len(u.secret) == 0 {
		return "", fmt.Errorf("user %q has no token secret", u.record.Name)
	}
	now := s.now()
	c := &claims{Subject: u.record.Name, IssuedAt: now.Unix(), Expires: now.Add(life).Unix()}
	if holds.token != nil {
		c.Token = holds.token.record.ID
	}
	if holds.scoped != nil {
		c.Access = holds.scoped.scopes
		if c.Audience, err = json.Marshal(holds.scoped.audience); err != nil {
			return "", err
		}
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	t.Header["kid"] = k.id
	token, err := t.SignedString(signing(k.secret, u.record.Name, u.secret))
	return Secret(token), err
}

// proof is what makes a token a good one.
type proof struct {
	user    *user
	key     string // id
	token   string // id of the API token that it depends on, "" for none
	expires time.Time
	scoped  *scoped // nil: all that its holder may
}

// prove checks a token and returns whose it is. errKeyID is in the chain when
// the token names a key that the snapshot does not have.
func (s *Service) prove(snap *snapshot, token Secret, audience string) (proof, error) {
	var found *user
	var id string
	c := &claims{audience: audience}
	_, err := s.parser.ParseWithClaims(string(token), c, func(t *jwt.Token) (any, error) {
		id, _ = t.Header["kid"].(string)
		k := snap.key(id)
		if k == nil {
			return nil, errKeyID
		}
		found = snap.users[c.Subject]
		if found == nil || len(found.secret) == 0 {
			// As much work as for a user that exists; nobody knows this key.
			return signing(k.secret, "", s.nobody), nil
		}
		return signing(k.secret, found.record.Name, found.secret), nil
	})
	if err != nil {
		return proof{}, err
	}
	if found == nil {
		return proof{}, jwt.ErrTokenSignatureInvalid
	}
	p := proof{user: found, key: id, token: c.Token, expires: time.Unix(c.Expires, 0)}
	if c.Audience != nil {
		p.scoped = &scoped{audience, c.Access}
	}
	if _, ok := s.bound(snap, p); !ok {
		return proof{}, jwt.ErrTokenInvalidClaims
	}
	return p, nil
}

// tokenError makes what the client hears of a token that was refused; the
// library's own text quotes parts of what was sent.
func tokenError(err error) error {
	reason := "invalid token"
	if errors.Is(err, jwt.ErrTokenExpired) {
		reason = "token expired"
	}
	return &CredentialError{JWT, reason}
}

// newSecret returns n random bytes.
func newSecret(random io.Reader, n int) (key, error) {
	k := make(key, n)
	if _, err := io.ReadFull(random, k); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	return k, nil
}
