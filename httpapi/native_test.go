package httpapi

import (
	"net/http"
	"slices"
	"testing"

	"granary/formats"
	"granary/formats/raw"
	"granary/repo/config"
)

// ecosystem is a format with a challenge of its own.
type ecosystem struct{ formats.Format }

func (ecosystem) Challenge(r *http.Request) string {
	if formats.SiteOf(r.Context()).Path != "config.json" {
		return ""
	}
	return `Eco login="` + formats.SiteOf(r.Context()).URL + `"`
}

// The answer to who may not must not tell repositories from what does not exist.
func TestChallenges(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Formats = []formats.Format{ecosystem{raw.New()}} })
	r.Create("files", config.Hosted, "raw", nil)
	for _, name := range []string{"files", "none"} {
		for path, want := range map[string][]string{
			"config.json": {`Basic realm="granary"`, `Eco login="http://example.com/repository/` + name + `"`},
			"other":       {`Basic realm="granary"`},
		} {
			a := r.do("", "GET", "/repository/"+name+"/"+path, nil).status(401)
			if got := a.Header.Values("Www-Authenticate"); !slices.Equal(got, want) {
				t.Errorf("%s/%s: %q, want %q", name, path, got, want)
			}
		}
		a := r.do("", "GET", "/repository/"+name+"/config.json", nil, "Authorization", "nonsense").status(401)
		if got := a.Header.Values("Www-Authenticate"); len(got) != 2 {
			t.Errorf("%s with bad credentials: %q", name, got)
		}
	}
	if got := r.do("", "GET", "/api/v1/users", nil).status(401).Header.Values("Www-Authenticate"); len(got) != 1 {
		t.Errorf("outside of repositories: %q", got)
	}
}

func TestSite(t *testing.T) {
	r := newRig(t)
	r.Create("p", config.Hosted, "probe", nil)
	var site formats.Site
	r.probe.call = func(w http.ResponseWriter, r *http.Request) error {
		site = formats.SiteOf(r.Context())
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	want := formats.Site{URL: "http://example.com/repository/p", Path: "call"}
	if r.do("admin", "GET", "/repository/p/call", nil).status(204); site != want {
		t.Errorf("private: %+v", site)
	}
	r.anyone("read", "p")
	want.Public = true
	for _, as := range []string{"admin", ""} {
		if r.do(as, "GET", "/repository/p/call", nil).status(204); site != want {
			t.Errorf("public, as %q: %+v", as, site)
		}
	}
}
