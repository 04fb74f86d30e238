package rest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/auth"
	"granary/repo/config"
)

// BackupToken is an API token with the hash that it is recognised by.
type BackupToken struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Username     string        `json:"username"`
	Capabilities *[]Capability `json:"capabilities"`
	CreatedAt    Timestamp     `json:"created_at"`
	ExpiresAt    Timestamp     `json:"expires_at"`
	Hash         *string       `json:"hash,omitempty" doc:"SHA-256 of its text, in hex."`
}

// BackupSigning are the keys that a repository signs with.
type BackupSigning struct {
	Repository string             `json:"repository"`
	Keys       []BackupSigningKey `json:"keys" nullable:"false" doc:"The one in force last."`
}

// BackupSigningKey is a signing key with its private half.
type BackupSigningKey struct {
	SigningKey
	PrivateKey *string `json:"private_key,omitempty" doc:"Armored."`
}

// RestoreToken is an API token of a backup; without its hash it is left out.
type RestoreToken struct {
	ID           string                 `json:"id"`
	Name         string                 `json:"name"`
	Username     string                 `json:"username"`
	Capabilities optional[[]Capability] `json:"capabilities,omitempty"`
	CreatedAt    optional[time.Time]    `json:"created_at,omitempty"`
	ExpiresAt    optional[time.Time]    `json:"expires_at,omitempty"`
	Hash         optional[string]       `json:"hash,omitempty"`
}

// RestoreSigning are a repository's keys of a backup.
type RestoreSigning struct {
	Repository string              `json:"repository"`
	Keys       []RestoreSigningKey `json:"keys" nullable:"false"`
}

// RestoreSigningKey is a key of a backup; without its private half it is left
// out.
type RestoreSigningKey struct {
	Fingerprint string              `json:"fingerprint"`
	Algorithm   string              `json:"algorithm"`
	CreatedAt   optional[time.Time] `json:"created_at,omitempty"`
	Until       optional[time.Time] `json:"until,omitempty"`
	PrivateKey  optional[string]    `json:"private_key,omitempty"`
}

// identity shows who may log in and how, and what repositories sign with.
func (w *backupWriter) identity(ctx context.Context, b *Backup) (err error) {
	a := w.api
	if d, ok := a.Auth.Directory(); ok {
		b.LDAPConfig = showLDAP(d)
		if b.LDAPConfig.BindPassword, err = w.text("ldap_config", d.BindPassword); err != nil {
			return err
		}
	}
	if o, ok := a.Auth.Providers(); ok {
		b.OIDCConfig = showOIDC(o)
		if o.Login != nil {
			if b.OIDCConfig.Login.ClientSecret, err = w.text("oidc_config", o.Login.ClientSecret); err != nil {
				return err
			}
		}
	}
	for _, t := range a.Auth.BackupTokens() {
		shown := BackupToken{ID: t.ID, Name: t.Name, Username: t.Username, CreatedAt: Timestamp(t.CreatedAt), ExpiresAt: Timestamp(t.ExpiresAt)}
		if t.Capabilities != nil {
			list := showCapabilities(*t.Capabilities)
			shown.Capabilities = &list
		}
		if shown.Hash, err = w.text("tokens."+t.ID, hex.EncodeToString(t.Hash)); err != nil {
			return err
		}
		b.Tokens = append(b.Tokens, shown)
	}
	for _, r := range a.Registry.Repositories() {
		if !a.Repositories.Signs(r) {
			continue
		}
		// A first key is in no memory until all is loaded again.
		s, err := a.Registry.Signing(ctx, r.ID)
		if errors.Is(err, config.ErrNotFound) {
			continue
		}
		if err == nil {
			err = w.signing(b, r.Name, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *backupWriter) signing(b *Backup, repository string, s *config.Signing) error {
	out := BackupSigning{Repository: repository, Keys: []BackupSigningKey{}}
	for _, k := range s.Keys {
		if !k.Until.IsZero() && !time.Now().Before(k.Until) {
			continue // signs nothing any more
		}
		shown := BackupSigningKey{SigningKey: SigningKey{
			Fingerprint: k.Fingerprint, Algorithm: k.Algorithm, CreatedAt: Timestamp(k.Created), Until: Timestamp(k.Until),
		}}
		var err error
		if shown.PrivateKey, err = w.secret("signing_keys."+repository+"."+k.Fingerprint, k.Private); err != nil {
			return err
		}
		out.Keys = append(out.Keys, shown)
	}
	b.SigningKeys = append(b.SigningKeys, out)
	return nil
}

// restoredSigning are keys to be put in force.
type restoredSigning struct {
	repository string
	keys       []config.SigningKey
}

// identity plans what of the document is about logging in and signing, and
// judges it with roles and users.
func (p *restorePlan) identity(in *RestoreRequest) error {
	if in.LDAPConfig.some() {
		d := in.LDAPConfig.value.directory()
		if old, ok := p.api.Auth.Directory(); ok && d.BindPassword == "" && old.URL == d.URL {
			d.BindPassword = old.BindPassword
		}
		p.Directory = &d
	}
	if in.OIDCConfig.some() {
		o := in.OIDCConfig.value.providers()
		if old, ok := p.api.Auth.Providers(); ok && o.Login != nil && old.Login != nil && o.Login.ClientSecret == "" && old.Login.Issuer == o.Login.Issuer {
			o.Login.ClientSecret = old.Login.ClientSecret
		}
		p.Providers = &o
	}
	for i, t := range in.Tokens.value {
		if t.Hash.value == "" {
			continue
		}
		hash, err := hex.DecodeString(t.Hash.value)
		if err != nil {
			return invalid(fmt.Sprintf("tokens[%d].hash", i), "must be in hex")
		}
		b := auth.BackupToken{
			ID: t.ID, Name: t.Name, Username: t.Username, CreatedAt: t.CreatedAt.value, ExpiresAt: t.ExpiresAt.value, Hash: hash,
		}
		if t.Capabilities.some() {
			limits := capabilities(t.Capabilities.value)
			b.Capabilities = &limits
		}
		p.Tokens = append(p.Tokens, b)
	}
	if err := p.api.Auth.CheckRestore(&p.Restored); err != nil {
		return err
	}
	for i, s := range in.SigningKeys.value {
		if err := p.addSigning(&s); err != nil {
			return fmt.Errorf("signing_keys[%d]: %w", i, err)
		}
	}
	return nil
}

func (p *restorePlan) addSigning(s *RestoreSigning) error {
	out := restoredSigning{repository: s.Repository}
	r := p.known.Repositories[p.names[s.Repository]]
	switch {
	case r == nil:
		return invalid("repository", "there is no repository %.64q", s.Repository)
	case !p.api.Repositories.Signs(r):
		return invalid("repository", "%.64q signs nothing", s.Repository)
	case slices.ContainsFunc(p.signing, func(o restoredSigning) bool { return o.repository == s.Repository }):
		return invalid("repository", "%.64q is there twice", s.Repository)
	}
	for i, k := range s.Keys {
		if k.PrivateKey.value == "" {
			continue
		}
		if err := p.api.Repositories.CheckSigningKey(k.Fingerprint, k.PrivateKey.value); err != nil {
			return fmt.Errorf("keys[%d]: %w", i, err)
		}
		out.keys = append(out.keys, config.SigningKey{
			Fingerprint: k.Fingerprint, Algorithm: k.Algorithm, Private: config.NewSecret(k.PrivateKey.value),
			Created: k.CreatedAt.value, Until: k.Until.value,
		})
	}
	switch n := len(out.keys); {
	case n == 0:
		return nil
	case !out.keys[n-1].Until.IsZero():
		return invalid("keys", "the last one is in force and has no end")
	}
	p.signing = append(p.signing, out)
	return nil
}

// writeIdentity comes after repositories, roles and users.
func (p *restorePlan) writeIdentity(ctx context.Context) error {
	a := p.api
	for _, s := range p.signing {
		if err := a.Repositories.RestoreSigningKeys(ctx, s.repository, s.keys, defaultOverlap*24*time.Hour); err != nil {
			return err
		}
	}
	var errs []error
	if p.Directory != nil {
		_, err := a.Auth.SetDirectory(ctx, *p.Directory)
		errs = append(errs, err)
	}
	if p.Providers != nil {
		errs = append(errs, a.Auth.SetProviders(ctx, *p.Providers))
	}
	if len(p.Tokens) > 0 {
		_, err := a.Auth.RestoreTokens(ctx, p.Tokens)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
