package cargo_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/cargo"
	"granary/repo/config"
	"granary/repo/repotest"
)

func joinRig(t *testing.T, repositories ...string) (r *repotest.Rig, send func(repository, method, target, body string) error) {
	t.Helper()
	r = repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format { return []formats.Format{cargo.New(now)} }})
	for _, name := range repositories {
		r.Create(name, config.Hosted, "cargo", nil)
	}
	return r, func(repository, method, target, body string) error {
		_, _, err := r.Send(t.Context(), repository, method, target, []byte(body))
		return err
	}
}

func upload(t *testing.T, name, version, toml string) string {
	t.Helper()
	return string(body(metadata(name, version, ""), crate(t, name, version, toml)))
}

const newCrate = "api/v1/crates/new"

// A promotion claims the name of a crate as an upload does, by the directory or
// by the file; what belongs to the crate elsewhere stays there.
func TestPromotionClaimsNames(t *testing.T) {
	for _, path := range []string{"crates", "crates/foo-bar", "crates/foo-bar/foo-bar-1.0.0.crate"} {
		r, send := joinRig(t, "staging", "release")
		for _, c := range []struct{ repository, method, target, body string }{
			{"staging", "PUT", newCrate, upload(t, "foo-bar", "1.0.0", "")},
			{"staging", "PUT", "api/v1/crates/foo-bar/owners", `{"users":["alice"]}`},
		} {
			if err := send(c.repository, c.method, c.target, c.body); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Promoted("staging", "release", path); err != nil {
			t.Fatal(err)
		}
		if err := send("release", "PUT", newCrate, upload(t, "foo_bar", "2.0.0", "")); !errors.Is(err, formats.ErrExists) {
			t.Errorf("%s: the name in another spelling: %v", path, err)
		}
		if err := send("release", "PUT", newCrate, upload(t, "foo-bar", "2.0.0", "")); err != nil {
			t.Errorf("%s: the next version: %v", path, err)
		}
		if err := send("release", "PUT", "api/v1/crates/foo-bar/owners", `{"users":["bob"]}`); err != nil {
			t.Errorf("%s: an owner: %v", path, err)
		}
		// Again, with what is the target's own by now.
		if err := r.Promoted("staging", "release", path); err != nil {
			t.Fatal(err)
		}
		_, owners, err := r.Send(t.Context(), "release", "GET", "api/v1/crates/foo-bar/owners", nil)
		if err != nil || strings.Contains(string(owners), "alice") || !strings.Contains(string(owners), "bob") {
			t.Errorf("%s: owners %s, %v", path, owners, err)
		}
	}
}

// A promotion is refused where an upload would be, and nothing of it is seen.
func TestPromotionOfTakenNames(t *testing.T) {
	for name, there := range map[string]string{
		"another spelling":       upload(t, "foo_bar", "1.0.0", ""),
		"other build metadata":   upload(t, "foo-bar", "1.1.0+linux", ""),
		"the same, other bytes":  upload(t, "foo-bar", "1.1.0", "description = \"other\"\n"),
		"the same, and no fault": upload(t, "foo-bar", "1.1.0", ""),
	} {
		r, send := joinRig(t, "staging", "release")
		for repository, crates := range map[string][]string{
			"staging": {upload(t, "foo-bar", "1.1.0", ""), upload(t, "aaa", "1.0.0", "")},
			"release": {there},
		} {
			for _, c := range crates {
				if err := send(repository, "PUT", newCrate, c); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := r.Promoted("staging", "release", "crates")
		_, _, seen := r.Send(t.Context(), "release", http.MethodGet, "crates/aaa/aaa-1.0.0.crate", nil)
		if strings.HasSuffix(name, "no fault") {
			if err != nil || seen != nil {
				t.Errorf("%s: %v, %v", name, err, seen)
			}
			continue
		}
		if !errors.Is(err, formats.ErrExists) || !errors.Is(seen, formats.ErrNotFound) {
			t.Errorf("%s: %v, and another crate of it: %v", name, err, seen)
		}
	}
}

// A version that was yanked in the target stays so when it is promoted again.
func TestPromotionKeepsYanks(t *testing.T) {
	r, send := joinRig(t, "staging", "release")
	if err := send("staging", "PUT", newCrate, upload(t, "lib", "1.0.0", "")); err != nil {
		t.Fatal(err)
	}
	if err := r.Promoted("staging", "release", "crates"); err != nil {
		t.Fatal(err)
	}
	if err := send("release", "DELETE", "api/v1/crates/lib/1.0.0/yank", ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Promoted("staging", "release", "crates"); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Get("release", "3/l/lib")); !strings.Contains(got, `"yanked":true`) {
		t.Errorf("the index says %s", got)
	}
}
