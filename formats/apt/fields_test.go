package apt_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
	"granary/repo/config"
)

func TestFields(t *testing.T) {
	s := formattest.NewStore(t, format())
	set := func(dist, body string) error { return accept(t, s, "PUT", "dists/"+dist, http.Header{}, body) }
	text := func(dist, doc string) string {
		return string(render(t, s, "dists/"+dist, formats.Settings{})[doc].Body)
	}
	if err := set("bookworm-backports", `{"origin":"Example","label":"Example Backports","suite":"stable-backports","version":"12","description":"Newer than stable",
		"changelogs":"https://registry.example.com/@CHANGEPATH@","not_automatic":true,"but_automatic_upgrades":true}`); err != nil {
		t.Fatal(err)
	}
	want := "Origin: Example\nLabel: Example Backports\nSuite: stable-backports\nVersion: 12\nCodename: bookworm-backports\n" +
		"Date: Sun, 22 Nov 2026 10:20:30 UTC\nNotAutomatic: yes\nButAutomaticUpgrades: yes\nChangelogs: https://registry.example.com/@CHANGEPATH@\n" +
		"Acquire-By-Hash: yes\nArchitectures: all\nComponents: main\nDescription: Newer than stable\n"
	if got := text("bookworm-backports", "Release"); !strings.HasPrefix(got, want) {
		t.Errorf("Release of an empty distribution with fields\n%s, want\n%s", got, want)
	}
	if got, want := text("bookworm-backports", "main/binary-all/Release"), "Archive: stable-backports\nOrigin: Example\nLabel: Example Backports\nVersion: 12\nAcquire-By-Hash: yes\nComponent: main\nArchitecture: all\n"; got != want {
		t.Errorf("Release of a section %q, want %q", got, want)
	}
	// A snapshot has the fields, but for those that say what it is called.
	if err := accept(t, s, "POST", "snapshots", http.Header{}, `{"source":"bookworm-backports","name":"monday"}`); err != nil {
		t.Fatal(err)
	}
	if got := text("monday", "Release"); !strings.HasPrefix(got, "Origin: Example\nLabel: Example Backports\nSuite: monday\nVersion: 12\nCodename: monday\n") {
		t.Errorf("Release of the snapshot\n%s", got)
	}
	// All of them are set: what is left out is as ever.
	if err := set("bookworm-backports", `{}`); err != nil {
		t.Fatal(err)
	}
	if got := text("bookworm-backports", "Release"); !strings.HasPrefix(got, "Origin: granary\nLabel: granary\nSuite: bookworm-backports\nCodename: bookworm-backports\nDate:") || strings.Contains(got, "Automatic") {
		t.Errorf("Release without fields\n%s", got)
	}
}

func TestBadFields(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, body := range []string{
		``, `[]`, `"x"`, `{"origin":1}`, `{"origins":"x"}`, `{"origin":"a\nMD5Sum: b"}`, `{"label":" a"}`, `{"description":"` + strings.Repeat("x", 301) + `"}`,
		`{"suite":"a/b"}`, `{"suite":"../x"}`, `{"codename":"a b"}`, `{"suite":"one","codename":"two"}`, `{"but_automatic_upgrades":true}`, `{"not_automatic":"yes"}`, `{} {}`,
		`{"origin":"` + strings.Repeat("x", 17<<10) + `"}`,
	} {
		err := accept(t, s, "PUT", "dists/stable", http.Header{}, body)
		if !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrTooLarge) {
			t.Errorf("%.60s: %v", body, err)
		}
	}
	if got := pointers(t, s, "dists") + pointers(t, s, "dists/stable"); got != "" {
		t.Errorf("refused fields left %s", got)
	}
	if err := accept(t, s, "PUT", "dists/stable", http.Header{}, `{"suite":"stable","codename":"bookworm"}`); err != nil {
		t.Errorf("a suite and a codename: %v", err)
	}
}

// A package leaves one distribution and stays in the others and in the pool,
// from where an upload lists it again.
func TestUnlist(t *testing.T) {
	for _, policy := range []config.Policy{config.AllowIdentical, config.Deny} {
		r := newRig(t)
		r.Create("debs", config.Hosted, "apt", func(c *config.Repository) { c.ConflictPolicy = policy })
		deb := []byte(debOf(t, ".gz", control("hello", "1:1.0-1", "amd64"), "text"))
		index := func(dist string) string {
			return string(r.Get("debs", "dists/"+dist+"/main/binary-amd64/Packages"))
		}
		contents := func(dist string) int {
			_, body, err := r.Send(t.Context(), "debs", "GET", "dists/"+dist+"/main/Contents-amd64.gz", nil)
			if err != nil && !errors.Is(err, formats.ErrNotFound) {
				t.Error(err)
			}
			return len(body)
		}
		for _, dist := range []string{"stable", "testing"} {
			r.Put("debs", "pool/"+dist+"/main/upload", deb)
		}
		full := contents("stable")
		if _, _, err := r.Send(t.Context(), "debs", "PUT", "pool/testing/main/upload", deb); policy == config.Deny != errors.Is(err, formats.ErrExists) {
			t.Errorf("%s: again where it is listed: %v", policy, err)
		}
		const at = "pool/stable/main/hello/1:1.0-1/amd64"
		if _, _, err := r.Send(t.Context(), "debs", "DELETE", at, nil); err != nil {
			t.Fatalf("%s: %v", policy, err)
		}
		if got := index("stable") + "|" + index("testing"); strings.Count(got, "Package: hello") != 1 || strings.HasPrefix(got, "Package") {
			t.Errorf("%s: listed are\n%s", policy, got)
		}
		if got := contents("stable"); got >= full {
			t.Errorf("%s: Contents has %d bytes, %d before", policy, got, full)
		}
		r.Get("debs", "pool/main/h/hello/hello_1.0-1_amd64.deb")
		for _, missing := range []string{at, "pool/none/main/hello/1:1.0-1/amd64", "pool/testing/main/hello/1:1.0-1/arm64", "pool/testing/main/hello/1.0-1/amd64"} {
			r.Refused(formats.ErrNotFound, "debs", "DELETE", missing, nil)
		}
		r.Put("debs", "pool/stable/main/upload", deb)
		if got := index("stable"); !strings.Contains(got, "Package: hello") || contents("stable") != full {
			t.Errorf("%s: after another upload are listed\n%s", policy, got)
		}
	}
}
