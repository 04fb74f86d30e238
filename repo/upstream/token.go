package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	maxTokens    = 1024             // kept; some KiB each at the most
	maxTokenBody = 64 << 10         // bytes of a realm's answer
	maxTokenSize = 16 << 10         // bytes of a token
	leastLife    = 60 * time.Second // if the realm does not say, or says less
	mostLife     = time.Hour
	tokenMargin  = 5 * time.Second // a token is not used so close to its end
)

// tokens keeps bearer tokens until they expire.
type tokens struct {
	now func() time.Time

	mu   sync.Mutex // protects kept
	kept map[tokenKey]token
}

// tokenKey says what a token is good for: the area of a server, for one pair
// of credentials.
type tokenKey [sha256.Size]byte

type token struct {
	value   string
	expires time.Time
}

func newTokens(now func() time.Time) *tokens {
	return &tokens{now: now, kept: map[tokenKey]token{}}
}

// areaOf is what is known before a challenge: the server and the path less its
// last two segments, since registries ask one token for all manifests and
// blobs of a name. If it is not the right area the server asks for another token.
func areaOf(u *url.URL, auth *Credentials) tokenKey {
	path := u.EscapedPath()
	for range 2 {
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
	return keyOf("area", auth, originOf(u).String(), path)
}

func keyOf(kind string, auth *Credentials, parts ...string) tokenKey {
	h := sha256.New()
	if auth != nil {
		parts = append(parts, auth.Username, auth.Password)
	}
	for _, p := range append(parts, kind) {
		fmt.Fprintf(h, "%d %s", len(p), p) //nolint:errcheck // hash.Hash never returns an error
	}
	return tokenKey(h.Sum(nil))
}

func (t *tokens) find(k tokenKey) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.kept[k]
	if !ok || !t.now().Before(v.expires) {
		return token{}, false
	}
	return v, true
}

func (t *tokens) keep(k tokenKey, v token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= maxTokens {
		for old, v := range t.kept {
			if !t.now().Before(v.expires) {
				delete(t.kept, old)
			}
		}
	}
	for old := range t.kept {
		if len(t.kept) < maxTokens {
			break
		}
		delete(t.kept, old)
	}
	t.kept[k] = v
}

func (t *tokens) drop(k tokenKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.kept, k)
}

// realmURL is where a challenge asks for a token to be fetched.
func realmURL(c challenge) (*url.URL, error) {
	u, err := parseURL(c.params["realm"])
	if err != nil {
		return nil, fmt.Errorf("token realm: %w", err)
	}
	q := u.Query()
	if v := c.params["service"]; v != "" {
		q.Set("service", v)
	}
	for _, scope := range strings.Fields(c.params["scope"]) {
		q.Add("scope", scope)
	}
	u.RawQuery = q.Encode()
	return u, nil
}

var errRealm = errors.New("wants credentials to be sent to a token realm that is not in upstream_realms")

// answer fetches a token that a challenge asks for. It goes by the rules of a
// redirect from where the challenge came from, and follows none itself.
func (c *call) answer(ctx context.Context, ch challenge) (token, error) {
	realm, err := realmURL(ch)
	if err != nil {
		return token{}, err
	}
	trusted := c.auth != nil && c.trust.covers(realm)
	if c.auth != nil && !trusted {
		return token{}, fmt.Errorf("%w: %s", errRealm, originOf(realm))
	}
	key := keyOf("realm", c.auth, realm.String())
	if t, ok := c.client.tokens.find(key); ok && t.value != c.refused {
		return t, nil
	}
	header := http.Header{"Accept": {"application/json"}}
	if trusted {
		header.Set("Authorization", c.auth.basic())
	}
	hop, err := c.exchange(ctx, http.MethodGet, realm, header)
	if err != nil {
		return token{}, err
	}
	defer hop.close()
	if hop.StatusCode >= 500 {
		hop.pass.bad()
	}
	if hop.StatusCode != http.StatusOK {
		return token{}, fmt.Errorf("token realm %s: status %d", originOf(realm), hop.StatusCode)
	}
	t, err := readToken(hop.Body, c.client.now())
	if err != nil {
		return token{}, fmt.Errorf("token realm %s: %w", originOf(realm), err)
	}
	hop.pass.good()
	c.client.tokens.keep(key, t)
	return t, nil
}

// readToken reads a realm's answer, as the distribution registry specifies it.
func readToken(r io.Reader, now time.Time) (token, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxTokenBody+1))
	if err != nil {
		return token{}, err
	}
	var body struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
	}
	if len(data) > maxTokenBody || json.Unmarshal(data, &body) != nil {
		return token{}, errors.New("answer is not a token")
	}
	t := token{value: body.Token}
	if t.value == "" {
		t.value = body.AccessToken
	}
	visible := func(r rune) bool { return r > ' ' && r < 0x7f }
	if t.value == "" || len(t.value) > maxTokenSize || strings.ContainsFunc(t.value, func(r rune) bool { return !visible(r) }) {
		return token{}, errors.New("answer holds no token")
	}
	life := min(max(time.Duration(min(body.ExpiresIn, mostLife.Seconds()))*time.Second, leastLife), mostLife)
	t.expires = now.Add(life - tokenMargin)
	return t, nil
}
