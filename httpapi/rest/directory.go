package rest

import (
	"context"
	"net/http"
	"reflect"

	"granary/auth"
	"granary/auth/ldap"
	"granary/httpapi/exchange"
)

// LDAP is the directory as clients see it.
type LDAP struct {
	URL               string            `json:"url"`
	BindDN            string            `json:"bind_dn"`
	BindPassword      *string           `json:"bind_password" doc:"Masked."`
	UserBaseDN        string            `json:"user_base_dn"`
	UserFilter        string            `json:"user_filter"`
	GroupBaseDN       *string           `json:"group_base_dn"`
	GroupFilter       string            `json:"group_filter"`
	GroupNameAttr     string            `json:"group_name_attr"`
	GroupRoleMapping  map[string]string `json:"group_role_mapping" nullable:"false"`
	StartTLS          bool              `json:"starttls"`
	TLSSkipVerify     bool              `json:"tls_skip_verify"`
	CACert            *string           `json:"ca_cert" doc:"PEM of the authorities to trust instead of the system's."`
	FallbackToBuiltin bool              `json:"fallback_to_builtin"`
}

// LDAPRequest sets the directory; what is absent gets its default.
type LDAPRequest struct {
	URL               string                      `json:"url"`
	BindDN            string                      `json:"bind_dn"`
	BindPassword      optional[string]            `json:"bind_password,omitempty" doc:"******** keeps the one that is stored."`
	UserBaseDN        string                      `json:"user_base_dn"`
	UserFilter        optional[string]            `json:"user_filter,omitempty" doc:"(uid={username}) by default."`
	GroupBaseDN       optional[string]            `json:"group_base_dn,omitempty"`
	GroupFilter       optional[string]            `json:"group_filter,omitempty" doc:"(member={dn}) by default."`
	GroupNameAttr     optional[string]            `json:"group_name_attr,omitempty" doc:"cn by default."`
	GroupRoleMapping  optional[map[string]string] `json:"group_role_mapping,omitempty" doc:"Groups, by name or DN, and the roles they give."`
	StartTLS          optional[bool]              `json:"starttls,omitempty"`
	TLSSkipVerify     optional[bool]              `json:"tls_skip_verify,omitempty"`
	CACert            optional[string]            `json:"ca_cert,omitempty"`
	FallbackToBuiltin optional[bool]              `json:"fallback_to_builtin,omitempty" doc:"true by default."`
}

// LDAPTestRequest is whom to look up.
type LDAPTestRequest struct {
	Username optional[string] `json:"username,omitempty"`
	Password optional[string] `json:"password,omitempty"`
}

// LDAPTest is what the directory said.
type LDAPTest struct {
	OK     bool     `json:"ok"`
	Error  *string  `json:"error"`
	DN     *string  `json:"dn"`
	Groups []string `json:"groups" nullable:"false"`
	Roles  []string `json:"roles" nullable:"false"`
}

func (a *api) directory() {
	const tag, path = "settings", "/settings/ldap"
	register(a, operation{id: "get-ldap", method: http.MethodGet, path: path, summary: "Get the LDAP directory, null if there is none", tag: tag}, a.getLDAP)
	register(a, operation{
		id: "replace-ldap", method: http.MethodPut, path: path, summary: "Set the LDAP directory", tag: tag, reads: reflect.TypeFor[LDAPRequest](),
	}, a.replaceLDAP)
	register(a, operation{
		id: "delete-ldap", method: http.MethodDelete, path: path, summary: "Remove the LDAP directory", tag: tag, status: http.StatusNoContent,
	}, func(ctx context.Context, x *exchange.Exchange, _ *none) (*none, error) {
		if err := x.Administer(); err != nil {
			return nil, err
		}
		return nil, a.Auth.RemoveDirectory(ctx)
	})
	register(a, operation{
		id: "test-ldap", method: http.MethodPost, path: path + "/test", tag: tag, reads: reflect.TypeFor[LDAPTestRequest](),
		summary: "Connect to the LDAP directory, and look a user up",
	}, a.testLDAP)
}

func showLDAP(d auth.LDAP) *LDAP {
	out := &LDAP{
		URL: d.URL, BindDN: d.BindDN, UserBaseDN: d.UserBase, UserFilter: d.UserFilter, GroupBaseDN: filled(d.GroupBase),
		GroupFilter: d.GroupFilter, GroupNameAttr: d.GroupName, GroupRoleMapping: d.GroupRoles, StartTLS: d.StartTLS,
		TLSSkipVerify: d.SkipVerify, CACert: filled(d.CA), FallbackToBuiltin: d.Fallback,
	}
	if d.BindPassword != "" {
		out.BindPassword = filled(auth.Mask)
	}
	if out.GroupRoleMapping == nil {
		out.GroupRoleMapping = map[string]string{}
	}
	return out
}

func (a *api) getLDAP(_ context.Context, x *exchange.Exchange, _ *none) (*answer[*LDAP], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	if d, ok := a.Auth.Directory(); ok {
		return &answer[*LDAP]{showLDAP(d)}, nil
	}
	return &answer[*LDAP]{}, nil
}

func (a *api) replaceLDAP(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[*LDAP], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var in LDAPRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	d := in.directory()
	if d.BindPassword == auth.Mask {
		old, ok := a.Auth.Directory()
		if !ok || old.URL != d.URL {
			// It is not sent to a directory that it was not given for.
			return nil, invalid("bind_password", "must be given with a new url")
		}
		d.BindPassword = old.BindPassword
	}
	if d, err = a.Auth.SetDirectory(ctx, d); err != nil {
		return nil, err
	}
	return &answer[*LDAP]{showLDAP(d)}, nil
}

func (in *LDAPRequest) directory() auth.LDAP {
	d := auth.LDAP{
		Settings: ldap.Settings{
			URL: in.URL, BindDN: in.BindDN, BindPassword: in.BindPassword.value, UserBase: in.UserBaseDN, UserFilter: in.UserFilter.value,
			GroupBase: in.GroupBaseDN.value, GroupFilter: in.GroupFilter.value, GroupName: in.GroupNameAttr.value,
			StartTLS: in.StartTLS.value, SkipVerify: in.TLSSkipVerify.value, CA: in.CACert.value,
		},
		GroupRoles: in.GroupRoleMapping.value, Fallback: true,
	}
	plain(in.FallbackToBuiltin, &d.Fallback, true)
	return d
}

func (a *api) testLDAP(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[LDAPTest], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	var in LDAPTestRequest
	if x.Request().ContentLength != 0 {
		p, err := a.read(x, maxLogin)
		if err != nil {
			return nil, err
		}
		if err := p.decode(&in); err != nil {
			return nil, err
		}
	}
	found, err := a.Auth.TestDirectory(ctx, in.Username.value, auth.Secret(in.Password.value))
	out := LDAPTest{OK: err == nil, DN: filled(found.DN), Groups: orEmpty(found.Groups), Roles: orEmpty(found.Roles)}
	if err != nil {
		out.Error = filled(err.Error())
	}
	return &answer[LDAPTest]{out}, nil
}
