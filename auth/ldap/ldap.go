package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

var (
	// ErrCredentials is returned when the directory has no such user, more than
	// one, or refuses the password.
	ErrCredentials = errors.New("ldap: wrong user name or password")
	// ErrUnavailable is returned when the directory can't be asked: it does not
	// answer in time, refuses the service account, or is not what the settings
	// say. The text is for administrators.
	ErrUnavailable = errors.New("ldap: the directory can't be asked")
)

const (
	// timeout is for all that one question needs.
	timeout = 5 * time.Second

	maxDepth  = 8   // of groups in groups
	maxGroups = 512 // of one user
)

// Group is a group that a user is in.
type Group struct{ DN, Name string }

// Person is a user of the directory.
type Person struct {
	DN     string
	Groups []Group // by DN
}

// Check connects and binds as the service account.
func (s *Settings) Check(ctx context.Context) error {
	return s.session(ctx, func(c *conn) error { return c.bindService() })
}

// Find looks a user up without a password.
func (s *Settings) Find(ctx context.Context, username string) (Person, error) {
	var p Person
	err := s.session(ctx, func(c *conn) (err error) {
		if err = c.bindService(); err != nil {
			return err
		}
		if p.DN, err = c.user(username); err != nil {
			return err
		}
		p.Groups, err = c.groups(p.DN)
		return err
	})
	return p, err
}

// Login looks a user up and proves the password.
func (s *Settings) Login(ctx context.Context, username, password string) (Person, error) {
	if password == "" {
		return Person{}, ErrCredentials
	}
	var p Person
	err := s.session(ctx, func(c *conn) (err error) {
		if err = c.bindService(); err != nil {
			return err
		}
		if p.DN, err = c.user(username); err != nil {
			return err
		}
		if err = c.bindUser(p.DN, password); err != nil {
			return err
		}
		if err = c.bindService(); err != nil {
			return err
		}
		p.Groups, err = c.groups(p.DN)
		return err
	})
	return p, err
}

// conn is a connection for one question.
type conn struct {
	*ldap.Conn
	s *Settings
}

func (s *Settings) session(ctx context.Context, ask func(*conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing was written
	// The library knows no contexts: closing ends what it waits for.
	defer context.AfterFunc(ctx, func() { c.Close() })() //nolint:errcheck // as above
	if s.StartTLS {
		t, err := s.tls(hostOf(s.URL))
		if err != nil {
			return unavailable("certificate", err)
		}
		if err := c.StartTLS(t); err != nil {
			return unavailable("STARTTLS", err)
		}
	}
	return ask(&conn{c, s})
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func (s *Settings) dial(ctx context.Context) (*ldap.Conn, error) {
	t, err := s.tls(hostOf(s.URL))
	if err != nil {
		return nil, unavailable("certificate", err)
	}
	deadline, _ := ctx.Deadline()
	c, err := ldap.DialURL(s.URL, ldap.DialWithDialer(&net.Dialer{Deadline: deadline}), ldap.DialWithTLSConfig(t))
	if err != nil {
		return nil, unavailable("connect", err)
	}
	c.SetTimeout(time.Until(deadline))
	return c, nil
}

func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

func (c *conn) bindService() error {
	var err error
	if c.s.BindPassword == "" {
		err = c.UnauthenticatedBind(c.s.BindDN)
	} else {
		err = c.Bind(c.s.BindDN, c.s.BindPassword)
	}
	if err != nil {
		return unavailable("bind as "+c.s.BindDN, err)
	}
	return nil
}

func (c *conn) bindUser(dn, password string) error {
	err := c.Bind(dn, password)
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation, ldap.LDAPResultInsufficientAccessRights,
		ldap.LDAPResultNoSuchObject):
		return ErrCredentials
	}
	return unavailable("bind as the user", err)
}

// user returns the DN of the one entry that the filter finds.
func (c *conn) user(username string) (string, error) {
	entries, err := c.find(c.s.UserBase, fill(c.s.UserFilter, "{username}", username), 2, "1.1")
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded):
		return "", ErrCredentials
	case err != nil:
		return "", unavailable("search the user", err)
	case len(entries) != 1 || entries[0].DN == "":
		return "", ErrCredentials
	}
	return entries[0].DN, nil
}

func (c *conn) find(base, filter string, limit int, attributes ...string) ([]*ldap.Entry, error) {
	r, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, limit, int(timeout.Seconds()), false,
		filter, attributes, nil))
	if err != nil {
		return nil, err
	}
	return r.Entries, nil
}

// groups returns the groups that have dn as a member, the groups that have
// those, and so on.
func (c *conn) groups(dn string) ([]Group, error) {
	if c.s.GroupBase == "" {
		return nil, nil
	}
	seen := map[string]bool{strings.ToLower(dn): true}
	var found []Group
	for members, depth := []string{dn}, 0; len(members) > 0 && depth < maxDepth; depth++ {
		var next []string
		for _, m := range members {
			entries, err := c.find(c.s.GroupBase, fill(c.s.GroupFilter, "{dn}", m), maxGroups, c.s.GroupName)
			if err != nil && !ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject) {
				return nil, unavailable("search groups", err)
			}
			for _, e := range entries {
				if key := strings.ToLower(e.DN); !seen[key] {
					seen[key] = true
					found = append(found, Group{e.DN, e.GetEqualFoldAttributeValue(c.s.GroupName)})
					next = append(next, e.DN)
				}
			}
			if len(found) > maxGroups {
				return nil, unavailable("search groups", fmt.Errorf("the user is in more than %d", maxGroups))
			}
		}
		members = next
	}
	slices.SortFunc(found, func(a, b Group) int { return strings.Compare(a.DN, b.DN) })
	return found, nil
}
