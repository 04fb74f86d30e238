package auth

import (
	"strings"
	"testing"
)

func TestPathGlobs(t *testing.T) {
	for _, tt := range []struct {
		glob, path                string
		match, covers, meetsBelow bool
	}{
		{"**", "a", true, true, true},
		{"**", "a/b/c", true, true, true},
		{"**", "", true, true, true},
		{"a", "a", true, false, false},
		{"a", "b", false, false, false},
		{"a", "", false, false, true},
		{"a/**", "a", true, true, true},
		{"a/**", "a/b", true, true, true},
		{"a/**", "ab", false, false, false},
		{"a/**", "", false, false, true},
		{"a/b/**", "a", false, false, true},
		{"a/*", "a/b", true, false, false},
		{"a/*", "a/b/c", false, false, false},
		{"a/*", "a", false, false, true},
		{"a/*/**", "a", false, false, true},
		{"a/*/**", "a/b", true, true, true},
		{"a/*/**", "a/b/c", true, true, true},
		{"*.jar", "x.jar", true, false, false},
		{"*.jar", "d/x.jar", false, false, false},
		{"**/*.jar", "d/x.jar", true, false, true},
		{"**.jar", "d/x.jar", true, false, true},
		{"**.jar", "d", false, false, true},
		{"?/x", "a/x", true, false, false},
		{"?", "/", false, false, false},
		{"a**b", "a/b", true, false, true},
		{"**/b/**", "q", false, false, true},
		{"**/b/**", "q/b", true, true, true},
		{"com/acme/**", "com/acme2/x", false, false, false},
		{"com/acme/**", "com", false, false, true},
	} {
		if got := matchPath(tt.glob, tt.path); got != tt.match {
			t.Errorf("matchPath(%q, %q) = %v", tt.glob, tt.path, got)
		}
		if got := coversPath(tt.glob, tt.path); got != tt.covers {
			t.Errorf("coversPath(%q, %q) = %v", tt.glob, tt.path, got)
		}
		if got := meetsPath(tt.glob, tt.path); got != tt.meetsBelow {
			t.Errorf("meetsPath(%q, %q) = %v", tt.glob, tt.path, got)
		}
	}
}

func TestCheckPathGlob(t *testing.T) {
	for glob, want := range map[string]bool{
		"a": true, "**": true, "a/**": true, "*.jar": true, "é/x": true, "@scope/pkg/**": true,
		"": false, "/a": false, "a/": false, "a//b": false, "../a": false, "a/./b": false, "a\nb": false, "a\x00": false, "a\\b": false,
		"a\xff": false, strings.Repeat("a", 257): false,
	} {
		if got := checkPathGlob(glob); got != want {
			t.Errorf("checkPathGlob(%q) = %v", glob, got)
		}
	}
}

// What covers a directory matches all below it, what matches below meets it,
// and no glob takes longer than its length times the path's.
func FuzzPathGlob(f *testing.F) {
	f.Add("a/**", "a", "b/c")
	f.Add("**/x*?", "q", "x1")
	f.Add("a/*/**", "a/b", "c")
	f.Add(strings.Repeat("**a", 80), strings.Repeat("a", 200), "b")
	f.Fuzz(func(t *testing.T, glob, dir, below string) {
		if !checkPathGlob(glob) || len(dir)+len(below) > 2000 || dir == "" || below == "" || strings.Contains(dir+below, "\x01") {
			return
		}
		path := dir + "/" + below
		matched := matchPath(glob, path)
		if coversPath(glob, dir) && !matched {
			t.Errorf("%q covers %q but does not match %q", glob, dir, path)
		}
		if matched && !strings.HasSuffix(glob, "/**") && !meetsPath(glob, dir) {
			t.Errorf("%q matches %q but does not meet %q", glob, path, dir)
		}
	})
}

func TestRightsOnPaths(t *testing.T) {
	s := newService(t, Options{})
	list := []Capability{
		{Capability: "read", Repo: "maven", Paths: []string{"com/acme/**", "*.txt"}},
		{Capability: "write", Repo: "maven", Paths: []string{"com/acme/app/**"}},
		{Capability: "admin", Repo: "mine"},
	}
	if _, err := s.CreateRole(t.Context(), NewRole{Name: "ann", Capabilities: list}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"ann"}})
	ann := identity(t, s, basic("ann", "secret"))
	limits := []Capability{{Capability: "read", Repo: "*", Paths: []string{"com/**"}}}
	_, text := mustToken(t, s, ann, NewAPIToken{Capabilities: &limits})
	token := identity(t, s, "Bearer "+text)
	for _, tt := range []struct {
		what        string
		got, wanted bool
	}{
		{"all of maven", ann.Can("read", "maven"), false},
		{"a file below", ann.CanAt("read", "maven", "com/acme/x"), true},
		{"a file at the root", ann.CanAt("read", "maven", "a.txt"), true},
		{"a file elsewhere", ann.CanAt("read", "maven", "com/other/x"), false},
		{"a file in another repository", ann.CanAt("read", "other", "com/acme/x"), false},
		{"writing where only reading is allowed", ann.CanAt("write", "maven", "com/acme/x"), false},
		{"writing", ann.CanAt("write", "maven", "com/acme/app/1/x"), true},
		{"the directory", ann.CanBelow("read", "maven", "com/acme"), true},
		{"the directory above", ann.CanBelow("read", "maven", "com"), false},
		{"a part of the directory above", ann.CanSome("read", "maven", "com"), true},
		{"a part of the root", ann.CanSome("read", "maven", ""), true},
		{"a part of another directory", ann.CanSome("read", "maven", "org"), false},
		{"administering", ann.Can("admin", "mine"), true},
		{"reading what one administers", ann.Can("read", "mine"), true},
		{"deleting in what one administers", ann.CanAt("delete", "mine", "x"), true},
		{"administering another", ann.Can("admin", "maven"), false},
		{"the server", ann.Admin(), false},
		{"by token: a file below", token.CanAt("read", "maven", "com/acme/x"), true},
		{"by token: a file at the root", token.CanAt("read", "maven", "a.txt"), false},
		{"by token: beyond the user", token.CanAt("read", "maven", "com/other/x"), false},
		{"by token: administering", token.Can("admin", "mine"), false},
	} {
		if tt.got != tt.wanted {
			t.Errorf("%s: %v", tt.what, tt.got)
		}
	}
	for name, c := range map[string]Capability{
		"no path":       {Capability: "read", Repo: "*", Paths: []string{}},
		"dots":          {Capability: "read", Repo: "*", Paths: []string{"../x"}},
		"admin on some": {Capability: "admin", Repo: "*", Paths: []string{"x"}},
	} {
		if _, err := s.CreateRole(t.Context(), NewRole{Name: "bad", Capabilities: []Capability{c}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
