package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"granary/kv"
)

// An API token reads "grn_", 16 letters and digits that name it, 40 that are
// secret: 200 bits, which nobody guesses and a plain hash keeps as well as a
// slow one.
const (
	tokenPrefix   = "grn_"
	tokenIDSize   = 10 // bytes before base32
	tokenKeySize  = 25
	tokenIDLength = 16 // letters and digits
	tokenLength   = len(tokenPrefix) + tokenIDLength + 40
)

var tokenAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// isAPIToken tells what has the form of an API token. Nobody can set a
// password of that form.
func isAPIToken(s Secret) bool {
	if len(s) != tokenLength || !strings.HasPrefix(string(s), tokenPrefix) {
		return false
	}
	for _, c := range []byte(s[len(tokenPrefix):]) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// newAPIToken returns the text of a token and its id.
func (s *Service) newAPIToken() (text Secret, id string, err error) {
	b, err := newSecret(s.random, tokenIDSize+tokenKeySize)
	if err != nil {
		return "", "", err
	}
	id = tokenAlphabet.EncodeToString(b[:tokenIDSize])
	return Secret(tokenPrefix + id + tokenAlphabet.EncodeToString(b[tokenIDSize:])), id, nil
}

func hashToken(text Secret) key {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// apiToken is an API token as it is held in memory.
type apiToken struct {
	record  *tokenRecord
	version kv.Version
	limits  *rights   // nil: the user's rights
	expires time.Time // zero: never
}

// holder is who was recognised, and by which API token if by one.
type holder struct {
	user  *user
	token *apiToken // nil: by a password, or a session made with one
	// scoped is what a token of one surface leaves; nil: everything.
	scoped *scoped
}

func (h holder) identity(m Method, peer string) Identity {
	id := h.user.identity(m, peer)
	id.scoped = h.scoped
	if h.token != nil {
		id.Token, id.limits, id.expires = h.token.record.ID, h.token.limits, h.token.expires
	}
	return id
}

func (s *Service) loadTokens(ctx context.Context, old *snapshot) (map[string]*apiToken, error) {
	tokens := make(map[string]*apiToken, len(old.tokens))
	for item, err := range s.kv.Query(ctx, kv.ConfigPartition(kindToken), "", "", kv.Consistent) {
		if err != nil {
			return nil, err
		}
		if t := old.tokens[item.Sort]; t != nil && t.version == item.Version {
			tokens[item.Sort] = t
			continue
		}
		rec := new(tokenRecord)
		if err := kv.Unmarshal(item.Value, rec); err != nil {
			return nil, fmt.Errorf("token %q: %w", item.Sort, err)
		}
		rec.ID = item.Sort // the key decides
		t := &apiToken{record: rec, version: item.Version}
		if rec.Limited {
			t.limits = new(rights)
			t.limits.add(rec.Capabilities)
		}
		if rec.Expires != 0 {
			t.expires = time.UnixMilli(rec.Expires).UTC()
		}
		tokens[item.Sort] = t
	}
	return tokens, nil
}

// living returns a token that has not ended, or nil.
func (s *Service) living(snap *snapshot, id string) *apiToken {
	t := snap.tokens[id]
	if t == nil || !snap.unrevoked(t.record) || snap.homeless(snap.users[t.record.User]) || !t.expires.IsZero() && !s.now().Before(t.expires) {
		return nil
	}
	return t
}

// unrevoked tells whether nothing has revoked a token's user or all users.
func (s *snapshot) unrevoked(rec *tokenRecord) bool {
	u := s.users[rec.User]
	return u != nil && u.record.Stamp == rec.UserStamp && s.stamp == rec.ClusterStamp
}

// byAPIToken recognises the user of an API token.
func (s *Service) byAPIToken(text Secret, peer string) (Identity, error) {
	snap := s.snapshot()
	t := s.living(snap, string(text[len(tokenPrefix):][:tokenIDLength]))
	var want key
	if t != nil {
		want = t.record.Hash
	}
	if subtle.ConstantTimeCompare(hashToken(text), want) != 1 {
		return Identity{}, &CredentialError{Token, "invalid token"}
	}
	s.uses.note(t.record.ID)
	return holder{user: snap.users[t.record.User], token: t}.identity(Token, peer), nil
}
