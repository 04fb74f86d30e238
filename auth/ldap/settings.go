// Package ldap asks an LDAP directory who a user is: it searches the user's
// entry as a service account, binds as that entry with the password (search and
// bind), and reads the groups that have the entry as a member, directly or
// through other groups.
//
// Whatever a client sends is escaped before it becomes part of a filter
// (RFC 4515), and an empty password never reaches the directory, which would
// take it for an anonymous bind.
package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Settings say where the directory is and what it looks like.
type Settings struct {
	URL          string // ldap://host[:port] or ldaps://host[:port]
	BindDN       string // the service account that searches
	BindPassword string
	UserBase     string // DN below which users are
	UserFilter   string // with {username}
	GroupBase    string // DN below which groups are; "": groups are not read
	GroupFilter  string // with {dn}, of a user or of a group
	GroupName    string // attribute with a group's name
	StartTLS     bool
	SkipVerify   bool   // takes any certificate
	CA           string // PEM of the authorities to trust; "": the system's
}

// The defaults of the settings that have one.
const (
	DefaultUserFilter  = "(uid={username})"
	DefaultGroupFilter = "(member={dn})"
	DefaultGroupName   = "cn"
)

// InvalidError tells which field of Settings breaks a rule.
type InvalidError struct {
	Field   string // as REST clients spell it
	Problem string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

// Validate fills in defaults and returns an [*InvalidError] for settings that
// can't work with any directory.
func (s *Settings) Validate() error {
	s.UserFilter = or(s.UserFilter, DefaultUserFilter)
	s.GroupFilter = or(s.GroupFilter, DefaultGroupFilter)
	s.GroupName = or(s.GroupName, DefaultGroupName)
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		return &InvalidError{"url", "is required"}
	case err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return &InvalidError{"url", "must be ldap://host[:port] or ldaps://host[:port]"}
	case u.Scheme == "ldaps" && s.StartTLS:
		return &InvalidError{"starttls", "is for ldap://, ldaps:// is encrypted already"}
	}
	for _, d := range []struct{ field, dn string }{{"bind_dn", s.BindDN}, {"user_base_dn", s.UserBase}, {"group_base_dn", s.GroupBase}} {
		if d.dn == "" && d.field != "group_base_dn" {
			return &InvalidError{d.field, "is required"}
		}
		if _, err := ldap.ParseDN(d.dn); err != nil {
			return &InvalidError{d.field, "is no distinguished name"}
		}
	}
	if err := checkFilter("user_filter", s.UserFilter, "{username}"); err != nil {
		return err
	}
	if err := checkFilter("group_filter", s.GroupFilter, "{dn}"); err != nil {
		return err
	}
	if strings.ContainsAny(s.GroupName, " \t\r\n*()\\\x00") {
		return &InvalidError{"group_name_attr", "is no attribute"}
	}
	if _, err := s.tls(""); err != nil {
		return &InvalidError{"ca_cert", err.Error()}
	}
	return nil
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func checkFilter(field, filter, placeholder string) error {
	if !strings.Contains(filter, placeholder) {
		return &InvalidError{field, "must contain " + placeholder}
	}
	if _, err := ldap.CompileFilter(fill(filter, placeholder, "x")); err != nil {
		return &InvalidError{field, "is no LDAP filter"}
	}
	return nil
}

// fill puts a value, escaped, in the place of a placeholder.
func fill(filter, placeholder, value string) string {
	return strings.ReplaceAll(filter, placeholder, ldap.EscapeFilter(value))
}

func (s *Settings) tls(host string) (*tls.Config, error) {
	c := &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: s.SkipVerify, //nolint:gosec // an administrator's choice, named so in the settings
	}
	if s.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(s.CA)) {
			return nil, fmt.Errorf("has no certificate in PEM")
		}
	}
	return c, nil
}
