package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"granary/kv"
)

const (
	idOIDC = "oidc"

	maxWorkloads = 256
	maxClaims    = 32
	maxClaim     = 1024 // bytes of a claim's name and of its glob

	leastLife = time.Minute
	mostLife  = 24 * time.Hour
)

// OIDC says which OpenID Connect providers are trusted, and for what.
type OIDC struct {
	// Login, unless nil, is what people log in with.
	Login *ProviderLogin
	// Workloads exchange ID tokens, of a build server for instance.
	Workloads []Workload
}

// Workload is a rule by which an ID token becomes a session of a service
// account.
type Workload struct {
	Issuer   string // exactly as in tokens
	Audience string
	// Claims are globs ("*", "?") that claims must fit, at least one. Of a claim
	// that is a list one element must.
	Claims   map[string]string
	Username string        // a service account
	Life     time.Duration // of the session
}

// fits tells whether the claims of a verified token fit the rule.
func (w *Workload) fits(claims map[string]any) bool {
	for name, glob := range w.Claims {
		if !slices.ContainsFunc(claimTexts(claims, name), func(v string) bool { return match(glob, v) }) {
			return false
		}
	}
	return len(w.Claims) > 0
}

// oidcRecord is OIDC as stored under kv.Config("identity", "oidc").
type oidcRecord struct {
	kv.Extra  `cbor:"-"`
	Workloads []workloadRecord `cbor:"1,keyasint,omitempty"`
	Login     *loginRecord     `cbor:"2,keyasint,omitempty"`
}

type workloadRecord struct {
	kv.Extra `cbor:"-"`
	Issuer   string            `cbor:"1,keyasint,omitempty"`
	Audience string            `cbor:"2,keyasint,omitempty"`
	Claims   map[string]string `cbor:"3,keyasint,omitempty"`
	Username string            `cbor:"4,keyasint,omitempty"`
	Life     int64             `cbor:"5,keyasint,omitempty"` // seconds
}

func oidcKey() kv.Key { return kv.Config(kindIdentity, idOIDC) }

func (s *Service) oidcTable() kv.Table[oidcRecord] { return kv.Table[oidcRecord]{Store: s.kv} }

func (s *Service) loadOIDC(ctx context.Context) (*OIDC, error) {
	rec, _, err := read(ctx, s.oidcTable(), oidcKey())
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // none is a valid state
	}
	if err != nil {
		return nil, err
	}
	o := &OIDC{}
	if o.Login, err = s.openLogin(rec.Login); err != nil {
		return nil, err
	}
	for _, w := range rec.Workloads {
		o.Workloads = append(o.Workloads, Workload{w.Issuer, w.Audience, w.Claims, w.Username, time.Duration(w.Life) * time.Second})
	}
	return o, nil
}

// Providers returns the OIDC settings, false if there are none.
func (s *Service) Providers() (OIDC, bool) {
	o := s.snapshot().oidc
	if o == nil {
		return OIDC{}, false
	}
	return *o, true
}

// SetProviders replaces the OIDC settings.
func (s *Service) SetProviders(ctx context.Context, o OIDC) error {
	if err := o.complete(s.snapshot().hasRole, s.snapshot().hasService); err != nil {
		return err
	}
	var rec oidcRecord
	var err error
	if rec.Login, err = s.newLoginRecord(o.Login); err != nil {
		return err
	}
	for _, w := range o.Workloads {
		rec.Workloads = append(rec.Workloads, workloadRecord{
			Issuer: w.Issuer, Audience: w.Audience, Claims: w.Claims, Username: w.Username, Life: int64(w.Life / time.Second),
		})
	}
	_, err = s.oidcTable().Update(ctx, oidcKey(), func(old oidcRecord, _ bool) (oidcRecord, error) {
		rec.Extra = old.Extra
		return rec, nil
	})
	if err != nil {
		return fmt.Errorf("store the OIDC settings: %w", err)
	}
	return s.changed(ctx)
}

// complete fills in defaults and checks the rules.
func (o *OIDC) complete(hasRole, hasService func(string) bool) error {
	if o.Login != nil {
		if err := o.Login.complete(hasRole); err != nil {
			return err
		}
	}
	if len(o.Workloads) > maxWorkloads {
		return invalid("workloads", "more than %d", maxWorkloads)
	}
	for i := range o.Workloads {
		if err := o.Workloads[i].check(fmt.Sprintf("workloads[%d]", i), hasService); err != nil {
			return err
		}
	}
	return nil
}

// RemoveProviders removes the OIDC settings. There being none is no error.
func (s *Service) RemoveProviders(ctx context.Context) error {
	if err := drop(ctx, s.oidcTable(), oidcKey()); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("remove the OIDC settings: %w", err)
	}
	return s.changed(ctx)
}

func (w *Workload) check(field string, hasService func(string) bool) error {
	if err := checkIssuer(field+".issuer", w.Issuer); err != nil {
		return err
	}
	if !printable(w.Audience, maxClaim) {
		return invalid(field+".audience", "is required")
	}
	if len(w.Claims) == 0 || len(w.Claims) > maxClaims {
		return invalid(field+".claims", "must have 1 to %d: without any, everybody of the issuer would be let in", maxClaims)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Claims)) {
		if !printable(name, maxClaim) || !printable(w.Claims[name], maxClaim) {
			return invalid(field+".claims", "names and globs must be text without control characters")
		}
	}
	if !hasService(w.Username) {
		return invalid(field+".username", "there is no service account of this name")
	}
	if w.Life < leastLife || w.Life > mostLife {
		return invalid(field+".expires_secs", "must be between %d and %d", int(leastLife.Seconds()), int(mostLife.Seconds()))
	}
	return nil
}

// checkIssuer takes https, and http for an issuer on this machine.
func checkIssuer(field, issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(issuer) > maxClaim ||
		u.Scheme != "https" && (u.Scheme != "http" || !local(u.Hostname())) {
		return invalid(field, "must be an https URL without user, query and fragment")
	}
	return nil
}

func local(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }
