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

// Speaks of requests whose client says that it is of the ecosystem.
func (ecosystem) Speaks(r *http.Request) bool {
	return r.UserAgent() == "eco" && formats.SiteOf(r.Context()).Path != ""
}

func (ecosystem) Fail(w http.ResponseWriter, _ *http.Request, status int, _ string) bool {
	w.Header().Set("Content-Type", "text/eco")
	w.WriteHeader(status)
	return true
}

// Who is refused hears it in the client's form, whether there is a repository
// or not; others get the form of all.
func TestRefusalsInTheClientsForm(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Formats = []formats.Format{ecosystem{raw.New()}} })
	r.Create("files", config.Hosted, "raw", nil)
	r.user("bob")
	for _, as := range []string{"", "bob"} {
		status := map[string]int{"": 401, "bob": 403}[as]
		for _, name := range []string{"files", "none"} {
			r.do(as, "GET", "/repository/"+name+"/a", nil, "User-Agent", "eco").status(status).header("Content-Type", "text/eco")
			r.do(as, "GET", "/repository/"+name+"/a", nil).status(status).header("Content-Type", "application/json")
		}
	}
	r.do("", "GET", "/api/v1/users", nil, "User-Agent", "eco").status(401).header("Content-Type", "application/json")
}

// What a call answers is not kept, unless it says so itself.
func TestCallsAreNotKept(t *testing.T) {
	r := newRig(t)
	r.Create("p", config.Hosted, "probe", nil)
	r.probe.call = func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.RawQuery != "" {
			w.Header().Set("Cache-Control", r.URL.RawQuery)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	r.anyone("read", "p")
	r.do("", "GET", "/repository/p/call", nil).status(204).header("Cache-Control", "no-cache").header("Vary", "")
	r.do("admin", "GET", "/repository/p/call", nil).status(204).header("Cache-Control", "private, no-cache").header("Vary", "Authorization")
	r.do("", "GET", "/repository/p/call?no-store", nil).status(204).header("Cache-Control", "no-store")
	// A body that arrived whole and ends too early all the same is bad, not cut off.
	r.probe.call = func(http.ResponseWriter, *http.Request) error { return formats.ErrTruncated }
	r.do("", "GET", "/repository/p/call", nil).status(400)
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
