package auth

import (
	"slices"
	"strings"

	"granary/kv"
)

// ProviderLogin is the OpenID Connect provider that people log in with.
type ProviderLogin struct {
	Issuer, ClientID string
	ClientSecret     string   // "": a public client
	Scopes           []string // beside openid
	UsernameClaim    string   // "": preferred_username
	GroupsClaim      string   // "": groups
	GroupRoles       map[string]string
}

// loginRecord is ProviderLogin as stored.
type loginRecord struct {
	kv.Extra      `cbor:"-"`
	Issuer        string            `cbor:"1,keyasint,omitempty"`
	ClientID      string            `cbor:"2,keyasint,omitempty"`
	ClientSecret  sealedSecret      `cbor:"3,keyasint,omitempty"`
	Scopes        []string          `cbor:"4,keyasint,omitempty"`
	UsernameClaim string            `cbor:"5,keyasint,omitempty"`
	GroupsClaim   string            `cbor:"6,keyasint,omitempty"`
	GroupRoles    map[string]string `cbor:"7,keyasint,omitempty"`
}

func (s *Service) openLogin(l *loginRecord) (*ProviderLogin, error) {
	if l == nil {
		return nil, nil //nolint:nilnil // none is a valid state
	}
	secret, err := s.open(l.ClientSecret)
	return &ProviderLogin{l.Issuer, l.ClientID, string(secret), l.Scopes, l.UsernameClaim, l.GroupsClaim, l.GroupRoles}, err
}

// complete fills in defaults and checks the rules.
func (l *ProviderLogin) complete(hasRole func(string) bool) error {
	if l.UsernameClaim == "" {
		l.UsernameClaim = "preferred_username"
	}
	if l.GroupsClaim == "" {
		l.GroupsClaim = "groups"
	}
	if err := checkIssuer("login.issuer", l.Issuer); err != nil {
		return err
	}
	for _, f := range []struct{ field, text string }{
		{"login.client_id", l.ClientID}, {"login.username_claim", l.UsernameClaim}, {"login.groups_claim", l.GroupsClaim},
	} {
		if !printable(f.text, maxClaim) {
			return invalid(f.field, "must have 1 to %d bytes of text", maxClaim)
		}
	}
	if l.ClientSecret != "" && !printable(l.ClientSecret, maxClaim) {
		return invalid("login.client_secret", "must have at most %d bytes of text", maxClaim)
	}
	if len(l.Scopes) > maxClaims || slices.ContainsFunc(l.Scopes, func(s string) bool { return !printable(s, maxClaim) || strings.Contains(s, " ") }) {
		return invalid("login.scopes", "must be at most %d names", maxClaims)
	}
	return checkMapping("login.group_role_mapping", l.GroupRoles, hasRole)
}

func (s *Service) newLoginRecord(l *ProviderLogin) (*loginRecord, error) {
	if l == nil {
		return nil, nil //nolint:nilnil // none is a valid state
	}
	secret, err := s.seal(key(l.ClientSecret))
	return &loginRecord{
		Issuer: l.Issuer, ClientID: l.ClientID, ClientSecret: secret, Scopes: l.Scopes,
		UsernameClaim: l.UsernameClaim, GroupsClaim: l.GroupsClaim, GroupRoles: l.GroupRoles,
	}, err
}
