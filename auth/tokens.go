package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"granary/kv"
)

const (
	maxTokens    = 200 // of one user that have not ended
	maxTokenName = 128 // bytes
	// endedFor is how long a token that has expired is still listed.
	endedFor = 30 * 24 * time.Hour
)

// APIToken is an API token as clients see it; the text is not in it.
type APIToken struct {
	ID       string
	Name     string
	Username string
	// Capabilities are what the token is limited to; nil: to its user's rights.
	Capabilities []Capability
	CreatedAt    time.Time
	ExpiresAt    time.Time // zero: never
	LastUsedAt   time.Time // exact to a minute; zero: never
}

// NewAPIToken describes an API token to be made.
type NewAPIToken struct {
	Name string
	// Username is whose token it is; "": the maker's. Administrators make
	// those of service accounts.
	Username string
	// ExpiresAt, if set, is when it ends.
	ExpiresAt time.Time
	// Capabilities, unless nil, limit the token to a part of its user's rights.
	// What the user may not do when it is used, the token may not do either.
	Capabilities *[]Capability
}

func (t *apiToken) show() APIToken {
	out := APIToken{
		ID: t.record.ID, Name: t.record.Name, Username: t.record.User,
		CreatedAt: time.Unix(0, t.record.Created).UTC(), ExpiresAt: t.expires,
	}
	if t.record.Limited {
		out.Capabilities = show(t.record.Capabilities)
	}
	return out
}

// CreateToken makes an API token and returns its text, which is kept nowhere.
// Who was recognised by a token that is limited makes none, and who was by one
// that ends none that ends later.
func (s *Service) CreateToken(ctx context.Context, by Identity, n NewAPIToken) (APIToken, Secret, error) {
	if n.Username == "" {
		n.Username = by.Name
	}
	if err := s.mayManage(by, n.Username); err != nil {
		return APIToken{}, "", err
	}
	rec, err := s.newTokenRecord(by, n)
	if err != nil {
		return APIToken{}, "", err
	}
	text, id, err := s.newAPIToken()
	if err != nil {
		return APIToken{}, "", err
	}
	rec.ID, rec.Hash = id, hashToken(text)
	if err := add(ctx, s.apiTokens(), tokenKey(id), rec); err != nil {
		return APIToken{}, "", fmt.Errorf("create a token of user %q: %w", n.Username, err)
	}
	err = s.changed(ctx)
	if t := s.snapshot().tokens[id]; t != nil {
		return t.show(), text, err
	}
	return APIToken{}, "", errors.Join(err, fmt.Errorf("token %q: %w", id, ErrNotFound))
}

// mayManage tells whether by may make API tokens of a user.
func (s *Service) mayManage(by Identity, username string) error {
	switch u := s.snapshot().users[username]; {
	case by.Anonymous():
		return &CredentialError{Anonymous, "log in to make tokens"}
	case by.MustChangePassword() || by.Limited():
		return fmt.Errorf("%w: a limited credential makes no tokens", ErrForbidden)
	case by.Name == username:
		return nil
	case !by.Admin():
		return fmt.Errorf("%w: only administrators make tokens of service accounts", ErrForbidden)
	case u == nil:
		return fmt.Errorf("user %q: %w", username, ErrNotFound)
	case u.record.Source != service:
		return invalid("username", "administrators make tokens of service accounts only")
	}
	return nil
}

func (s *Service) newTokenRecord(by Identity, n NewAPIToken) (tokenRecord, error) {
	snap := s.snapshot()
	u := snap.users[n.Username]
	if u == nil {
		return tokenRecord{}, fmt.Errorf("user %q: %w", n.Username, ErrNotFound)
	}
	if !printable(n.Name, maxTokenName) {
		return tokenRecord{}, invalid("name", "must have 1 to %d bytes of text without control characters", maxTokenName)
	}
	rec := tokenRecord{
		Name: n.Name, User: n.Username, Created: s.now().UnixNano(), UserStamp: u.record.Stamp, ClusterStamp: snap.stamp,
	}
	if n.ExpiresAt.IsZero() {
		n.ExpiresAt = by.expires
	}
	if !n.ExpiresAt.IsZero() {
		switch {
		case !n.ExpiresAt.After(s.now()):
			return tokenRecord{}, invalid("expires_at", "must be in the future")
		case !by.expires.IsZero() && n.ExpiresAt.After(by.expires):
			return tokenRecord{}, invalid("expires_at", "must not be after the token's that makes it")
		}
		rec.Expires = n.ExpiresAt.UnixMilli()
	}
	if n.Capabilities != nil {
		var err error
		rec.Limited = true
		if rec.Capabilities, err = checkCapabilities(*n.Capabilities); err != nil {
			return tokenRecord{}, err
		}
	}
	if have := len(s.tokensOf(snap, n.Username)); have >= maxTokens {
		return tokenRecord{}, invalid("name", "the user has %d tokens already", have)
	}
	return rec, nil
}

// printable tells whether s is text of 1 to limit bytes that can be shown in a
// line.
func printable(s string, limit int) bool {
	if s == "" || len(s) > limit || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// tokensOf returns a user's tokens that were not revoked, in order of their
// making.
func (s *Service) tokensOf(snap *snapshot, username string) []*apiToken {
	var list []*apiToken
	for _, t := range snap.tokens {
		if t.record.User == username && !s.forgotten(snap, t) {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *apiToken) int {
		if a.record.Created != b.record.Created {
			return int(a.record.Created - b.record.Created)
		}
		return strings.Compare(a.record.ID, b.record.ID)
	})
	return list
}

// forgotten tells whether a token was revoked, or ended long ago.
func (s *Service) forgotten(snap *snapshot, t *apiToken) bool {
	return !snap.unrevoked(t.record) || !t.expires.IsZero() && s.now().Sub(t.expires) > endedFor
}

// Tokens lists the API tokens of a user, who may see them like an
// administrator.
func (s *Service) Tokens(ctx context.Context, by Identity, username string) ([]APIToken, error) {
	snap := s.snapshot()
	switch {
	case by.Anonymous():
		return nil, &CredentialError{Anonymous, "log in to see tokens"}
	case !by.Admin() && (by.Name != username || by.MustChangePassword() || by.Limited()):
		return nil, fmt.Errorf("%w: only administrators see the tokens of others", ErrForbidden)
	case snap.users[username] == nil:
		return nil, fmt.Errorf("user %q: %w", username, ErrNotFound)
	}
	used, err := s.lastUses(ctx)
	if err != nil {
		return nil, err
	}
	out := []APIToken{}
	for _, t := range s.tokensOf(snap, username) {
		shown := t.show()
		shown.LastUsedAt = used[shown.ID]
		if here := s.uses.last(shown.ID).UTC(); here.After(shown.LastUsedAt) {
			shown.LastUsedAt = here
		}
		out = append(out, shown)
	}
	return out, nil
}

// DeleteToken ends an API token everywhere. Its user may do so, and
// administrators; for others it does not exist.
func (s *Service) DeleteToken(ctx context.Context, by Identity, id string) error {
	if by.Anonymous() {
		return &CredentialError{Anonymous, "log in to end tokens"}
	}
	if by.MustChangePassword() || by.Limited() && by.Token != id {
		return fmt.Errorf("%w: a limited token ends none but itself", ErrForbidden)
	}
	t := s.snapshot().tokens[id]
	if t == nil || t.record.User != by.Name && !by.Admin() {
		return fmt.Errorf("token %q: %w", id, ErrNotFound)
	}
	if err := drop(ctx, s.apiTokens(), tokenKey(id)); err != nil {
		return fmt.Errorf("delete token %q: %w", id, err)
	}
	return s.changed(ctx)
}

// Run writes down what is noted in between and removes tokens that were
// revoked or ended long ago, until ctx ends; then it writes the rest. failed is
// told of errors, which are no reason to stop.
func (s *Service) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), usesEvery)
			defer cancel()
			if err := s.flush(last); err != nil {
				failed(err)
			}
			return
		case <-tick.C:
		}
		if err := s.flush(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		if n%sweepAfter == 0 {
			if err := s.sweepTokens(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}

// sweepAfter is how many flushes lie between two sweeps: an hour.
const sweepAfter = int(time.Hour / usesEvery)

// sweptAge is how old a token must be to be removed.
const sweptAge = 24 * time.Hour

// sweepTokens removes the records of tokens that are not listed any more.
// Every node does; nobody minds who was faster.
func (s *Service) sweepTokens(ctx context.Context) error {
	snap := s.snapshot()
	for _, id := range slices.Sorted(maps.Keys(snap.tokens)) {
		t := snap.tokens[id]
		// A young one may have been made with a stamp that is newer than what
		// the same load read of its user.
		if !s.forgotten(snap, t) || s.now().Sub(time.Unix(0, t.record.Created)) < sweptAge {
			continue
		}
		err := s.apiTokens().Delete(ctx, tokenKey(id), t.version)
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return fmt.Errorf("remove token %q: %w", id, err)
		}
	}
	return nil
}
