package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// BackupToken is an API token with what it is recognised by, as backups carry
// it. The token's text is known to its owner only.
type BackupToken struct {
	ID, Name, Username string
	Capabilities       *[]Capability // nil: the user's rights
	CreatedAt          time.Time
	ExpiresAt          time.Time // zero: never
	Hash               []byte    // SHA-256
}

var validTokenID = regexp.MustCompile(fmt.Sprintf("^[a-z2-7]{%d}$", tokenIDLength))

// BackupTokens returns the API tokens that have not ended, in order of their
// ids.
func (s *Service) BackupTokens() []BackupToken {
	snap := s.snapshot()
	out := []BackupToken{}
	for _, id := range slices.Sorted(maps.Keys(snap.tokens)) {
		t := snap.tokens[id]
		if !snap.unrevoked(t.record) || !t.expires.IsZero() && !s.now().Before(t.expires) {
			continue
		}
		b := BackupToken{
			ID: id, Name: t.record.Name, Username: t.record.User, CreatedAt: time.Unix(0, t.record.Created).UTC(), ExpiresAt: t.expires,
			Hash: slices.Clone([]byte(t.record.Hash)),
		}
		if t.record.Limited {
			limits := show(t.record.Capabilities)
			b.Capabilities = &limits
		}
		out = append(out, b)
	}
	return out
}

// checkBackupTokens judges tokens; sources are those of all users that there
// will be.
func (s *Service) checkBackupTokens(tokens []BackupToken, sources map[string]string) error {
	seen, of := map[string]bool{}, map[string]int{}
	for i, t := range tokens {
		field := func(name string) string { return fmt.Sprintf("tokens[%d].%s", i, name) }
		of[t.Username]++
		switch old := s.snapshot().tokens[t.ID]; {
		case !validTokenID.MatchString(t.ID) || seen[t.ID]:
			return invalid(field("id"), "must be that of a token, and be there once")
		case old != nil && old.record.User != t.Username:
			return invalid(field("username"), "is not whose token of this id is here")
		case !printable(t.Name, maxTokenName):
			return invalid(field("name"), "must have 1 to %d bytes of text without control characters", maxTokenName)
		case sources[t.Username] == "":
			return invalid(field("username"), "there is no such user")
		case of[t.Username] > maxTokens:
			return invalid(field("username"), "the user has more than %d tokens", maxTokens)
		case len(t.Hash) != sha256.Size:
			return invalid(field("hash"), "must be %d bytes", sha256.Size)
		case t.Capabilities == nil:
		default:
			if _, err := checkCapabilities(*t.Capabilities); err != nil {
				return fmt.Errorf("tokens[%d]: %w", i, err)
			}
		}
		seen[t.ID] = true
	}
	return nil
}

// RestoreTokens makes API tokens good again, also those that were revoked here
// since the backup, and returns how many; those that have expired are left
// out.
func (s *Service) RestoreTokens(ctx context.Context, tokens []BackupToken) (int, error) {
	snap, n := s.snapshot(), 0
	for _, t := range tokens {
		if !t.ExpiresAt.IsZero() && !s.now().Before(t.ExpiresAt) {
			continue
		}
		u := snap.users[t.Username]
		if u == nil {
			return n, fmt.Errorf("restore a token of user %q: %w", t.Username, ErrNotFound)
		}
		rec := tokenRecord{
			ID: t.ID, Name: t.Name, User: t.Username, Hash: t.Hash, Created: t.CreatedAt.UnixNano(),
			UserStamp: u.record.Stamp, ClusterStamp: snap.stamp,
		}
		if !t.ExpiresAt.IsZero() {
			rec.Expires = t.ExpiresAt.UnixMilli()
		}
		if t.Capabilities != nil {
			var err error
			rec.Limited = true
			if rec.Capabilities, err = checkCapabilities(*t.Capabilities); err != nil {
				return n, err
			}
		}
		_, err := s.apiTokens().Update(ctx, tokenKey(t.ID), func(old tokenRecord, exists bool) (tokenRecord, error) {
			if exists && old.User != t.Username {
				return old, errors.New("the token here is another user's")
			}
			rec.Extra = old.Extra
			return rec, nil
		})
		if err != nil {
			return n, fmt.Errorf("restore the token %s: %w", t.ID, err)
		}
		n++
	}
	return n, s.changed(ctx)
}
