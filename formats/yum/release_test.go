package yum_test

import "testing"

func TestRelease(t *testing.T) {
	for _, c := range []struct{ scope, name, pkg, version string }{
		{"Packages", "hello-1.0-1.x86_64.rpm", "hello", "1.0-1"},
		{"", "perl-Time-Local-1.300-7.el9.noarch.rpm", "perl-Time-Local", "1.300-7.el9"},
		{"Packages", "hello-1.0-1.src.rpm", "hello", "1.0-1"},
		{"Packages", "hello.rpm", "", ""},
		{"Packages", "hello-1.0.rpm", "", ""},
		{"Packages", "-1-1.noarch.rpm", "", ""},
		{"images", "boot.iso", "", ""},
		{"repodata", "packages/hello/:0:1.0-1.x86_64", "hello", "1.0-1"},
		{"el9/repodata", "packages/hello/:2:1.0-1.el9.noarch,0a0b0c0d001", "hello", "1.0-1.el9"},
		{"repodata", "comps", "", ""},
	} {
		if pkg, version := format().Release(c.scope, c.name); pkg != c.pkg || version != c.version {
			t.Errorf("%s %s: %q %q, want %q %q", c.scope, c.name, pkg, version, c.pkg, c.version)
		}
	}
}
