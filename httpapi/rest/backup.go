package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/repo/config"
)

const (
	backupVersion    = 1
	passphraseHeader = "X-Backup-Passphrase"
)

// Backup is the whole configuration. Artifacts and sessions are not part of it.
type Backup struct {
	Version      int                `json:"version"`
	CreatedAt    Timestamp          `json:"created_at"`
	Encryption   *Encryption        `json:"encryption,omitempty" required:"false"`
	Settings     json.RawMessage    `json:"settings"`
	Stores       []BackupStore      `json:"stores" nullable:"false"`
	Repositories []BackupRepository `json:"repositories" nullable:"false"`
	Roles        []Role             `json:"roles" nullable:"false"`
	Users        []auth.BackupUser  `json:"users" nullable:"false"`
	Webhooks     []BackupWebhook    `json:"webhooks" nullable:"false"`
	LDAPConfig   *LDAP              `json:"ldap_config" doc:"With the bind password; null: there is no directory."`
	OIDCConfig   *OIDC              `json:"oidc_config" doc:"With the client secret; null: no provider is trusted."`
	Tokens       []BackupToken      `json:"tokens" nullable:"false"`
	SigningKeys  []BackupSigning    `json:"signing_keys" nullable:"false"`
	Quarantine   []BackupQuarantine `json:"quarantine" nullable:"false"`
}

// BackupStore is a store with its secret.
type BackupStore struct {
	Store
	SecretKey *string `json:"secret_key,omitempty"`
}

// BackupRepository is a repository with its upstream's password.
type BackupRepository struct {
	*Repository
	// UpstreamAuth hides the masked one.
	UpstreamAuth *BackupUpstreamAuth `json:"upstream_auth"`
}

// BackupQuarantine is what of a repository is in quarantine.
type BackupQuarantine struct {
	Repository string        `json:"repository"`
	Items      []Quarantined `json:"items" nullable:"false"`
}

// BackupUpstreamAuth is what a cache tells its upstream.
type BackupUpstreamAuth struct {
	Username string  `json:"username"`
	Password *string `json:"password,omitempty"`
}

// BackupWebhook is a webhook with its secret.
type BackupWebhook struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Topics  []string `json:"topics"`
	Repos   []string `json:"repos"`
	Secret  *string  `json:"secret,omitempty"`
	Enabled bool     `json:"enabled"`
}

type backingUp struct {
	Secrets    string `query:"secrets" doc:"omit leaves hashes and secrets out."`
	Passphrase string `header:"X-Backup-Passphrase" doc:"Encrypts hashes and secrets."`
}

type backupOutput struct {
	Disposition string `header:"Content-Disposition"`
	Body        *Backup
}

func (a *api) backup() {
	const tag = "backup"
	register(a, operation{id: "backup", method: http.MethodGet, path: "/backup", summary: "Get the whole configuration", tag: tag}, a.makeBackup)
	register(a, operation{
		id: "restore", method: http.MethodPost, path: "/restore", tag: tag, reads: reflect.TypeFor[RestoreRequest](),
		summary: "Put a backup in force: what it names is made or changed, the rest stays",
	}, a.restore)
}

func (a *api) makeBackup(ctx context.Context, x *exchange.Exchange, _ *backingUp) (*backupOutput, error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	omit := false
	switch s := query.Get("secrets"); s {
	case "", "include":
	case "omit":
		omit = true
	default:
		return nil, invalid("secrets", "must be omit, or absent")
	}
	now := time.Now().UTC()
	b := &Backup{
		Version: backupVersion, CreatedAt: Timestamp(now), Webhooks: []BackupWebhook{}, Stores: []BackupStore{}, Repositories: []BackupRepository{}, Roles: []Role{},
		Tokens: []BackupToken{}, SigningKeys: []BackupSigning{}, Quarantine: []BackupQuarantine{},
	}
	w := backupWriter{api: a, omit: omit}
	if passphrase := x.Request().Header.Get(passphraseHeader); passphrase != "" && !omit {
		salt, err := newSalt()
		if err != nil {
			return nil, err
		}
		if w.box, err = newSecretBox(passphrase, salt); err != nil {
			return nil, err
		}
		b.Encryption = &Encryption{Method: sealMethod, Salt: base64.StdEncoding.EncodeToString(salt)}
	}
	if err := w.fill(ctx, b); err != nil {
		return nil, err
	}
	return &backupOutput{Disposition: `attachment; filename="depot-backup-` + now.Format("20060102-150405") + `.json"`, Body: b}, nil
}

// backupWriter shows everything, secrets as asked for.
type backupWriter struct {
	api  *api
	omit bool
	box  *secretBox
}

// text is a secret as it is written; nil for none.
func (w *backupWriter) text(name, secret string) (*string, error) {
	if w.omit || secret == "" {
		return nil, nil //nolint:nilnil // no secret is a value
	}
	s, err := w.box.seal(name, secret)
	return &s, err
}

func (w *backupWriter) secret(name string, s config.Secret) (*string, error) {
	clear, err := s.Reveal()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return w.text(name, clear)
}

func (w *backupWriter) fill(ctx context.Context, b *Backup) (err error) {
	a := w.api
	if b.Settings, err = json.Marshal(a.showSettings(a.Registry.Settings())); err != nil {
		return fmt.Errorf("write the settings: %w", err)
	}
	for _, c := range a.Registry.Stores() {
		s := BackupStore{Store: showStore(c)}
		if s.SecretKey, err = w.secret("stores."+c.Name, c.SecretKey); err != nil {
			return err
		}
		b.Stores = append(b.Stores, s)
	}
	for _, c := range a.Registry.Repositories() {
		r := BackupRepository{Repository: a.showRepository(c)}
		if c.UpstreamAuth != nil {
			r.UpstreamAuth = &BackupUpstreamAuth{Username: c.UpstreamAuth.Username}
			if r.UpstreamAuth.Password, err = w.secret("repositories."+c.Name, c.UpstreamAuth.Password); err != nil {
				return err
			}
		}
		b.Repositories = append(b.Repositories, r)
		if len(c.Quarantine) > 0 {
			b.Quarantine = append(b.Quarantine, BackupQuarantine{c.Name, showQuarantine(c.Quarantine)})
		}
	}
	for _, r := range a.Auth.Roles() {
		b.Roles = append(b.Roles, showRole(r))
	}
	b.Users = a.Auth.BackupUsers()
	for i := range b.Users {
		u := &b.Users[i]
		for _, s := range []*string{&u.PasswordHash, &u.TokenSecret} {
			sealed, err := w.text("users."+u.Username, *s)
			if err != nil {
				return err
			}
			*s = ""
			if sealed != nil {
				*s = *sealed
			}
		}
	}
	for _, c := range a.Registry.Webhooks() {
		h := BackupWebhook{Name: c.Name, URL: c.URL, Topics: orEmpty(c.Topics), Repos: orEmpty(c.Repos), Enabled: c.Enabled}
		if h.Secret, err = w.secret("webhooks."+c.Name, c.Secret); err != nil {
			return err
		}
		b.Webhooks = append(b.Webhooks, h)
	}
	return w.identity(ctx, b)
}
