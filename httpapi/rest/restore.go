package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/repo/config"
)

// maxRestore is the longest document, in bytes.
const maxRestore = 32 << 20

// RestoreRequest is a backup as it is put in force. Unknown fields are ignored.
type RestoreRequest struct {
	Version      int                              `json:"version"`
	Encryption   optional[Encryption]             `json:"encryption,omitempty"`
	Settings     SettingsRequest                  `json:"settings"`
	Stores       []CreateStoreRequest             `json:"stores" nullable:"false"`
	Repositories []CreateRepositoryRequest        `json:"repositories" nullable:"false"`
	Roles        []CreateRoleRequest              `json:"roles" nullable:"false"`
	Users        []RestoreUser                    `json:"users" nullable:"false"`
	Webhooks     optional[[]CreateWebhookRequest] `json:"webhooks,omitempty"`
	LDAPConfig   optional[LDAPRequest]            `json:"ldap_config,omitempty"`
	OIDCConfig   optional[OIDCRequest]            `json:"oidc_config,omitempty"`
	Tokens       optional[[]RestoreToken]         `json:"tokens,omitempty"`
	SigningKeys  optional[[]RestoreSigning]       `json:"signing_keys,omitempty"`
	Quarantine   optional[[]RestoreQuarantine]    `json:"quarantine,omitempty"`
}

// RestoreUser is a user of a backup.
type RestoreUser struct {
	Username           string             `json:"username"`
	Source             optional[string]   `json:"source,omitempty"`
	Roles              optional[[]string] `json:"roles,omitempty"`
	MustChangePassword optional[bool]     `json:"must_change_password,omitempty"`
	Subject            optional[string]   `json:"subject,omitempty"`
	PasswordHash       optional[string]   `json:"password_hash,omitempty"`
	TokenSecret        optional[string]   `json:"token_secret,omitempty"`
}

// RestoreQuarantine is what of a repository is in quarantine.
type RestoreQuarantine struct {
	Repository string               `json:"repository"`
	Items      []RestoreQuarantined `json:"items" nullable:"false"`
}

// RestoreQuarantined is an entry of a quarantine.
type RestoreQuarantined struct {
	Item      string              `json:"item"`
	Reason    string              `json:"reason"`
	CreatedBy optional[string]    `json:"created_by,omitempty"`
	CreatedAt optional[time.Time] `json:"created_at,omitempty"`
}

// RestoreResult counts what was put in force, or in a dry run would be.
type RestoreResult struct {
	Stores       int  `json:"stores"`
	Repositories int  `json:"repositories"`
	Roles        int  `json:"roles"`
	Users        int  `json:"users"`
	Webhooks     int  `json:"webhooks"`
	Tokens       int  `json:"tokens"`
	SigningKeys  int  `json:"signing_keys"`
	Settings     bool `json:"settings"`
	LDAPConfig   bool `json:"ldap_config"`
	OIDCConfig   bool `json:"oidc_config"`
	DryRun       bool `json:"dry_run"`
}

type restoring struct {
	DryRun     string `query:"dry_run" doc:"true: everything is judged, nothing is written."`
	Passphrase string `header:"X-Backup-Passphrase" doc:"What the document was encrypted with."`
}

// restore judges the whole document against what is here before the first
// write.
func (a *api) restore(ctx context.Context, x *exchange.Exchange, _ *restoring) (*answer[RestoreResult], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	dry := query.Get("dry_run") == "true"
	p, err := a.read(x, maxRestore)
	if err != nil {
		return nil, err
	}
	if v, ok := p.parsed["version"].(float64); ok && v != backupVersion {
		return nil, invalid("version", "%v is not known, only %d is", v, backupVersion)
	}
	var in RestoreRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	plan, err := a.plan(ctx, &in, x.Request().Header.Get(passphraseHeader))
	if err != nil {
		return nil, err
	}
	out := RestoreResult{
		Stores: len(plan.stores), Repositories: len(plan.repositories), Roles: len(plan.Roles), Users: len(plan.Users),
		Webhooks: len(plan.webhooks), Tokens: len(plan.Tokens), SigningKeys: len(plan.signing), Settings: true,
		LDAPConfig: plan.Directory != nil, OIDCConfig: plan.Providers != nil, DryRun: dry,
	}
	if !dry {
		if err := plan.write(ctx); err != nil {
			return nil, err
		}
	}
	return &answer[RestoreResult]{out}, nil
}

// restorePlan is what a restore will write, judged.
type restorePlan struct {
	api          *api
	stores       []CreateStoreRequest
	repositories []CreateRepositoryRequest // members before their groups
	auth.Restored
	webhooks []CreateWebhookRequest
	settings *SettingsRequest
	signing  []restoredSigning

	quarantine map[string][]config.Quarantined // by the repository's name

	known config.Known
	names map[string]string // of repositories, to ids, which are made up for new ones
}

func (a *api) plan(ctx context.Context, in *RestoreRequest, passphrase string) (*restorePlan, error) {
	if err := in.decrypt(passphrase); err != nil {
		return nil, err
	}
	// What other nodes have changed in this moment counts.
	if err := a.Registry.Load(ctx); err != nil {
		return nil, err
	}
	p := &restorePlan{api: a, stores: in.Stores, webhooks: in.Webhooks.value, settings: &in.Settings, names: map[string]string{}, quarantine: map[string][]config.Quarantined{}}
	now := a.Registry.Known()
	p.known = config.Known{Formats: now.Formats, Stores: map[string]*config.Store{}, Repositories: map[string]*config.Repository{}}
	for _, s := range a.Registry.Stores() {
		p.known.Stores[s.ID] = s
	}
	for _, r := range a.Registry.Repositories() {
		p.known.Repositories[r.ID] = r
		p.names[r.Name] = r.ID
	}
	for i := range in.Stores {
		if err := p.store(&in.Stores[i]); err != nil {
			return nil, within(fmt.Sprintf("stores[%d]", i), err)
		}
	}
	if err := p.order(in.Repositories); err != nil {
		return nil, err
	}
	for i := range p.repositories {
		if err := p.repository(&p.repositories[i]); err != nil {
			return nil, within("repositories."+p.repositories[i].Name, err)
		}
	}
	for i, q := range in.Quarantine.value {
		if err := p.addQuarantine(&q); err != nil {
			return nil, within(fmt.Sprintf("quarantine[%d]", i), err)
		}
	}
	for i, h := range p.webhooks {
		w := &config.Webhook{Name: h.Name, URL: h.URL}
		if err := errors.Join(h.apply(w), w.Validate()); err != nil {
			return nil, within(fmt.Sprintf("webhooks[%d]", i), err)
		}
	}
	for _, r := range in.Roles {
		p.Roles = append(p.Roles, auth.NewRole{Name: r.Name, Description: r.Description.value, Capabilities: capabilities(r.Capabilities.value)})
	}
	for _, u := range in.Users {
		source := u.Source.value
		if source == "" {
			source = "builtin"
		}
		p.Users = append(p.Users, auth.BackupUser{
			Username: u.Username, Source: source, Subject: u.Subject.value, Roles: u.Roles.value, MustChangePassword: u.MustChangePassword.value,
			PasswordHash: u.PasswordHash.value, TokenSecret: u.TokenSecret.value,
		})
	}
	if err := p.identity(in); err != nil {
		return nil, err
	}
	return p, p.judgeSettings()
}

// within says in which entry of the document a field is.
func within(where string, err error) error {
	var field *config.FieldError
	if errors.As(err, &field) {
		return &config.FieldError{Field: where + "." + field.Field, Message: field.Message, Shape: field.Shape}
	}
	return fmt.Errorf("%s: %w", where, err)
}

// store puts a store of the document into what will be known.
func (p *restorePlan) store(in *CreateStoreRequest) error {
	s := config.NewStore(config.StoreType(in.StoreType))
	s.ID, s.Name = "restored/"+in.Name, in.Name
	for id, old := range p.known.Stores {
		if old.Name != in.Name {
			continue
		}
		if old.Type != s.Type {
			return &config.FieldError{Field: "store_type", Message: fmt.Sprintf("is another than that of the store which is here: delete that one first (DELETE /api/v1/stores/%s), which is possible while nothing is in it", in.Name)}
		}
		s.ID, s.SecretKey = id, old.SecretKey
	}
	if err := in.apply(&s); err != nil {
		return err
	}
	p.known.Stores[s.ID] = &s
	return s.Validate(p.known)
}

// order puts members before their groups, and gives ids to what is new.
func (p *restorePlan) order(list []CreateRepositoryRequest) error {
	left := slices.Clone(list)
	seen := map[string]bool{}
	for i, r := range list {
		if seen[r.Name] {
			return invalid(fmt.Sprintf("repositories[%d].name", i), "%.64q is there twice", r.Name)
		}
		seen[r.Name] = true
	}
	ready := func(r CreateRepositoryRequest) bool {
		return !slices.ContainsFunc(left, func(o CreateRepositoryRequest) bool {
			return o.Name != r.Name && slices.Contains(r.Members.value, o.Name)
		})
	}
	for len(left) > 0 {
		i := slices.IndexFunc(left, ready)
		if i < 0 {
			return invalid("repositories", "groups contain each other: %.64q", left[0].Name)
		}
		p.repositories = append(p.repositories, left[i])
		if p.names[left[i].Name] == "" {
			p.names[left[i].Name] = "restored/" + left[i].Name
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// repository judges a repository of the document, and puts it into what will be
// known.
func (p *restorePlan) repository(in *CreateRepositoryRequest) error {
	id := p.names[in.Name]
	r := &config.Repository{ID: id, Name: in.Name, Type: config.Type(in.RepoType), Format: in.Format, Shards: 1}
	if old := p.known.Repositories[id]; old != nil {
		if old.Type != r.Type || old.Format != r.Format {
			return &config.FieldError{Field: "repo_type", Message: "type and format can't be changed, and a repository of the name is here"}
		}
		c := *old
		r = &c
	}
	store := in.Store.value
	if store == "" {
		store = defaultStore
	}
	r.Store = ""
	for id, s := range p.known.Stores {
		if s.Name == store {
			r.Store = id
		}
	}
	if r.Store == "" {
		return &config.FieldError{Field: "store", Message: "there is no such store"}
	}
	if err := p.api.applyFields(&in.RepositoryFields, r); err != nil {
		return err
	}
	if in.Members.set {
		r.Members = nil
	}
	for _, m := range in.Members.value {
		member := p.names[m]
		if member == "" {
			return &config.FieldError{Field: "members", Message: fmt.Sprintf("there is no repository %.64q", m)}
		}
		r.Members = append(r.Members, member)
	}
	if in.WriteMember.set {
		r.WriteMember = p.names[in.WriteMember.value]
		if r.WriteMember == "" && in.WriteMember.value != "" {
			return &config.FieldError{Field: "write_member", Message: "there is no such repository"}
		}
	}
	r.Normalize()
	p.known.Repositories[id] = r
	return r.Validate(p.known)
}

// addQuarantine adds what is put away in a repository of the document, or of
// here, to what is already.
func (p *restorePlan) addQuarantine(in *RestoreQuarantine) error {
	r := p.known.Repositories[p.names[in.Repository]]
	if r == nil || p.quarantine[in.Repository] != nil {
		return &config.FieldError{Field: "repository", Message: "must be a repository, and be there once"}
	}
	next := *r
	next.Quarantine = []config.Quarantined{}
	for _, q := range in.Items {
		next.Quarantine = append(next.Quarantine, config.Quarantined{Item: q.Item, Reason: q.Reason, By: q.CreatedBy.value, At: q.CreatedAt.value})
	}
	for _, q := range r.Quarantine {
		if !slices.ContainsFunc(next.Quarantine, func(o config.Quarantined) bool { return o.Item == q.Item }) {
			next.Quarantine = append(next.Quarantine, q)
		}
	}
	p.quarantine[in.Repository] = next.Quarantine
	return next.Validate(p.known)
}

func (p *restorePlan) judgeSettings() error {
	in := *p.settings
	docker := in.DefaultDockerRepo.value
	in.DefaultDockerRepo = optional[string]{}
	s, err := p.api.newSettings(context.Background(), &in) // looks nothing up without a repository's name
	if err != nil {
		return err
	}
	if docker != "" {
		if s.DefaultDockerRepo = p.names[docker]; s.DefaultDockerRepo == "" {
			return invalid("settings.default_docker_repo", "there is no such repository")
		}
	}
	return invalidSettings(s.Validate(p.known))
}

// decrypt puts clear secrets in place of encrypted ones.
func (in *RestoreRequest) decrypt(passphrase string) error {
	if !in.Encryption.some() {
		return nil
	}
	e := in.Encryption.value
	salt, err := base64.StdEncoding.DecodeString(e.Salt)
	switch {
	case e.Method != sealMethod || err != nil || len(salt) != saltLength:
		return invalid("encryption", "is not known")
	case passphrase == "":
		return invalid(passphraseHeader, "is required: the secrets of the document are encrypted")
	}
	box, err := newSecretBox(passphrase, salt)
	if err != nil {
		return err
	}
	open := func(name string, s *optional[string]) error {
		clear, err := box.open(name, s.value)
		s.value = clear
		return err
	}
	var errs []error
	for i := range in.Stores {
		errs = append(errs, open("stores."+in.Stores[i].Name, &in.Stores[i].SecretKey))
	}
	for i := range in.Repositories {
		r := &in.Repositories[i]
		if r.UpstreamAuth.some() {
			errs = append(errs, open("repositories."+r.Name, &r.UpstreamAuth.value.Password))
		}
	}
	for i := range in.Users {
		u := &in.Users[i]
		errs = append(errs, open("users."+u.Username, &u.PasswordHash), open("users."+u.Username, &u.TokenSecret))
	}
	for i := range in.Webhooks.value {
		h := &in.Webhooks.value[i]
		errs = append(errs, open("webhooks."+h.Name, &h.Secret))
	}
	errs = append(errs, open("ldap_config", &in.LDAPConfig.value.BindPassword), open("oidc_config", &in.OIDCConfig.value.Login.value.ClientSecret))
	for i := range in.Tokens.value {
		t := &in.Tokens.value[i]
		errs = append(errs, open("tokens."+t.ID, &t.Hash))
	}
	for _, r := range in.SigningKeys.value {
		for i := range r.Keys {
			errs = append(errs, open("signing_keys."+r.Repository+"."+r.Keys[i].Fingerprint, &r.Keys[i].PrivateKey))
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
