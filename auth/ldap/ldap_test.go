package ldap

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

func good() Settings {
	return Settings{URL: "ldap://localhost", BindDN: "cn=search,dc=x", UserBase: "ou=people,dc=x"}
}

func TestValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Settings)
		field  string // that is wrong, "" for none
	}{
		"good":                   {func(*Settings) {}, ""},
		"with groups":            {func(s *Settings) { s.GroupBase, s.GroupFilter = "ou=groups,dc=x", "(uniqueMember={dn})" }, ""},
		"LDAPS with a port":      {func(s *Settings) { s.URL = "ldaps://directory.example.com:1636/" }, ""},
		"no URL":                 {func(s *Settings) { s.URL = "" }, "url"},
		"HTTP":                   {func(s *Settings) { s.URL = "http://localhost" }, "url"},
		"no host":                {func(s *Settings) { s.URL = "ldap:///dc=x" }, "url"},
		"a socket":               {func(s *Settings) { s.URL = "ldapi:///var/run/slapd" }, "url"},
		"a password in the URL":  {func(s *Settings) { s.URL = "ldap://u:p@localhost" }, "url"},
		"STARTTLS over TLS":      {func(s *Settings) { s.URL, s.StartTLS = "ldaps://localhost", true }, "starttls"},
		"no bind DN":             {func(s *Settings) { s.BindDN = "" }, "bind_dn"},
		"bind DN is none":        {func(s *Settings) { s.BindDN = "search" }, "bind_dn"},
		"no user base":           {func(s *Settings) { s.UserBase = "" }, "user_base_dn"},
		"filter without a user":  {func(s *Settings) { s.UserFilter = "(uid=ann)" }, "user_filter"},
		"filter is none":         {func(s *Settings) { s.UserFilter = "(uid={username}" }, "user_filter"},
		"filter of groups":       {func(s *Settings) { s.GroupFilter = "(member=x)" }, "group_filter"},
		"attribute with a space": {func(s *Settings) { s.GroupName = "c n" }, "group_name_attr"},
		"no certificate":         {func(s *Settings) { s.CA = "x" }, "ca_cert"},
	} {
		s := good()
		tt.change(&s)
		err := s.Validate()
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			invalid = &InvalidError{}
		}
		if invalid.Field != tt.field || (err == nil) != (tt.field == "") {
			t.Errorf("%s: %v, want %q", name, err, tt.field)
		}
	}
	s := good()
	if err := s.Validate(); err != nil || s.UserFilter != "(uid={username})" || s.GroupFilter != "(member={dn})" || s.GroupName != "cn" {
		t.Errorf("defaults %+v, %v", s, err)
	}
}

// Whatever a client sends stays a value: the filter keeps its shape.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"ann", "*", "ann)(uid=*", "*)(objectClass=*))(|(uid=*", "\\2a", "\x00", "(", "é", "\xff"} {
		f.Add(s)
	}
	const filter = "(&(objectClass=person)(|(uid={username})(mail={username})))"
	f.Fuzz(func(t *testing.T, name string) {
		got := fill(filter, "{username}", name)
		packet, err := ldap.CompileFilter(got)
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		and := packet.Children
		if len(and) != 2 || len(and[1].Children) != 2 {
			t.Fatalf("%q has another shape", got)
		}
		for _, equal := range and[1].Children {
			if equal.Tag != ldap.FilterEqualityMatch || string(equal.Children[1].ByteValue) != name && equal.Children[1].Value != name {
				t.Errorf("%q compares something else than %q", got, name)
			}
		}
	})
}

// A directory that accepts and says nothing is given up after five seconds.
func TestSilentDirectory(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := good()
	s.URL = "ldap://" + l.Addr().String()
	if _, err := s.Login(t.Context(), "ann", ""); !errors.Is(err, ErrCredentials) {
		t.Errorf("an empty password: %v", err)
	}
	var both sync.WaitGroup
	for _, startTLS := range []bool{false, true} {
		s := s
		s.StartTLS = startTLS
		both.Go(func() {
			begun := time.Now()
			_, err := s.Login(t.Context(), "ann", "secret")
			if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "secret") {
				t.Errorf("STARTTLS %v: %v", startTLS, err)
			}
			if took := time.Since(begun); took < timeout-time.Second || took > timeout+25*time.Second {
				t.Errorf("STARTTLS %v: took %v", startTLS, took)
			}
		})
	}
	both.Wait()
}
