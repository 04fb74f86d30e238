package pypi

import (
	"slices"
	"testing"
)

// The order is that of packaging's own test suite.
func TestVersionOrder(t *testing.T) {
	ordered := []string{
		"1.0.dev456", "1.0a1", "1.0a2.dev456", "1.0a12.dev456", "1.0a12", "1.0b1.dev456", "1.0b2", "1.0b2.post345.dev456",
		"1.0b2.post345", "1.0b2-346", "1.0c1.dev456", "1.0c1", "1.0rc2", "1.0c3", "1.0", "1.0+abc.5", "1.0+abc.7", "1.0+5",
		"1.0.post456.dev34", "1.0.post456", "1.0.15", "1.1.dev1", "1.2+123abc", "1.2+123abc456", "1.2+abc", "1.2+abc123",
		"1.2+abc123def", "1.2+1234.abc", "1.2+123456", "1.2.r32+123456", "1.2.rev33+123456", "1.10", "20240101000000000000000000001",
		"1!1.0.dev456", "1!1.0", "1!2.0",
	}
	var parsed []version
	for _, s := range ordered {
		v, ok := parseVersion(s)
		if !ok {
			t.Fatalf("%q is no version", s)
		}
		parsed = append(parsed, v)
	}
	for i, a := range parsed {
		for j, b := range parsed {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.compare(b); got != want {
				t.Errorf("%s against %s: %d, want %d", ordered[i], ordered[j], got, want)
			}
		}
	}
}

func TestVersionForms(t *testing.T) {
	for text, want := range map[string]string{
		"1.0": "1.0", "v1.0": "1.0", " 1.0.0 ": "1.0.0", "01.02": "1.2", "1.0-alpha.1": "1.0a1", "1.0C1": "1.0rc1", "1.0preview": "1.0rc0",
		"1.0-5": "1.0.post5", "1.0.r": "1.0.post0", "1.0DEV": "1.0.dev0", "1.0+Ubuntu_1-02": "1.0+ubuntu.1.2", "0!1": "1", "3!1.0a2.post3.dev4+l": "3!1.0a2.post3.dev4+l",
	} {
		v, ok := parseVersion(text)
		if !ok || v.String() != want {
			t.Errorf("%q: %q %v, want %q", text, v, ok, want)
		}
	}
	for _, text := range []string{"", "french toast", "1.0+a+", "1.0++", "1.0+_foobar", "1.0a2!", "../1", "1.0/2", "1..0", "-1"} {
		if v, ok := parseVersion(text); ok {
			t.Errorf("%q is taken as %q", text, v)
		}
	}
}

func TestParseFile(t *testing.T) {
	for _, tc := range []struct{ file, project, kind, wantProject, wantVersion string }{
		{"foo-1.0-py3-none-any.whl", "", kindWheel, "foo", "1.0"},
		{"Foo_Bar.baz-1.0-1build-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "foo-bar-baz", kindWheel, "foo-bar-baz", "1.0"},
		{"foo-1.0+local.1-py3-none-any.whl", "", kindWheel, "foo", "1.0+local.1"},
		{"foo_bar-1.0.tar.gz", "foo-bar", kindSdist, "foo-bar", "1.0"},
		{"foo-bar-1.0-1.tar.gz", "foo-bar", kindSdist, "foo-bar", "1.0.post1"},
		{"foo-1-2.0.zip", "foo-1", kindSdist, "foo-1", "2.0"},
		{"foo-1.0.tar.bz2", "", kindSdist, "foo", "1.0"},
	} {
		d, err := parseFile(tc.file, tc.project)
		if err != nil || d.kind != tc.kind || d.project != tc.wantProject || d.version.String() != tc.wantVersion {
			t.Errorf("%s: %+v, %v", tc.file, d, err)
		}
	}
	for _, tc := range [][2]string{
		{"foo-1.0-py3-none-any.whl", "bar"}, {"foo-1.0-none-any.whl", ""}, {"foo-abc-py3-none-any.whl", ""}, {"foo.tar.gz", ""}, {"foo-1.0.exe", ""},
		{"../foo-1.0.tar.gz", ""}, {"foo 1.0.tar.gz", ""}, {"-1.0.tar.gz", ""}, {"foo-bar-1.0.tar.gz", "foo"}, {"foo-1.0.tar.gz\n", ""}, {"", ""},
	} {
		if d, err := parseFile(tc[0], tc[1]); err == nil {
			t.Errorf("%q is taken as %+v", tc[0], d)
		}
	}
}

func TestNormalise(t *testing.T) {
	for name, want := range map[string]string{"Foo": "foo", "foo._-bar": "foo-bar", "A": "a", "zope.interface": "zope-interface", "3to2": "3to2"} {
		if got, ok := normalise(name); !ok || got != want {
			t.Errorf("%q: %q %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "-a", "a-", "a/b", "a b", "ä", "a\n", ".", "a\u212a"} {
		if got, ok := normalise(name); ok {
			t.Errorf("%q is taken as %q", name, got)
		}
	}
}

func TestNegotiate(t *testing.T) {
	pip := "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
	for _, tc := range []struct {
		accept []string
		format string
		want   string // "" for none
	}{
		{nil, "", typeText},
		{[]string{"*/*"}, "", typeText},
		{[]string{pip}, "", typeJSON},
		{[]string{"text/html,application/xhtml+xml,*/*;q=0.8"}, "", typeText},
		{[]string{"text/html;q=0.5", "application/vnd.pypi.simple.v1+html"}, "", typeHTML},
		{[]string{"application/vnd.pypi.simple.latest+json"}, "", typeJSON},
		{[]string{"application/*"}, "", typeHTML},
		{[]string{"text/html;q=0, */*"}, "", typeHTML},
		{[]string{"application/vnd.pypi.simple.v2+json"}, "", ""},
		{[]string{"image/png"}, "", ""},
		{[]string{"text/html;q=x"}, "", ""},
		{[]string{pip}, "text/html", typeText},
		{nil, "application/vnd.pypi.simple.v1+json", typeJSON},
		{nil, "application/vnd.pypi.simple.v1 json", typeJSON}, // an unescaped plus
		{nil, "application/json", ""},
	} {
		got, ok := negotiate(tc.accept, tc.format)
		if ok != (tc.want != "") || ok && got != tc.want {
			t.Errorf("%q %q: %q %v, want %q", tc.accept, tc.format, got, ok, tc.want)
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"1.0", "1!2.3a4.post5.dev6+local.7", "v1-1", "1.0c"} {
		f.Add(s, "2")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		v, ok := parseVersion(s)
		if !ok {
			return
		}
		again, ok := parseVersion(v.String())
		if !ok || again.String() != v.String() || v.compare(again) != 0 {
			t.Errorf("%q becomes %q, then %q", s, v, again)
		}
		if o, ok := parseVersion(other); ok && v.compare(o) != -o.compare(v) {
			t.Errorf("%q and %q: %d, %d", v, o, v.compare(o), o.compare(v))
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("Metadata-Version: 2.1\nName: a\nVersion: 1\nClassifier: x\nClassifier: y\nLicense: a\n b\n\nbody"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseMetadata(data)
		if err == nil && (h.get("name") == "" && h["name"][0] != "UNKNOWN" || slices.Contains(h["version"], "")) {
			t.Errorf("%q", h)
		}
	})
}
