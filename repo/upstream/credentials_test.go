package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/formats"
)

var (
	auth  = &Credentials{"ann", "secret"}
	basic = "Basic YW5uOnNlY3JldA=="
)

func TestWhoSeesCredentials(t *testing.T) {
	w := newWorld(t)
	var own, files, other log
	w.serve("a.test", "203.0.113.1", own.around(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/to-other":
			http.Redirect(rw, r, "http://other.test/", 302)
		case "/to-files":
			http.Redirect(rw, r, "http://files.test/", 302)
		case "/round":
			http.Redirect(rw, r, "http://other.test/back", 302)
		case "/to-port":
			http.Redirect(rw, r, "http://a.test:8080/", 302)
		}
	}))
	w.serveAt("a.test", "203.0.113.1", "8080", other.around(text("")))
	w.serve("files.test", "203.0.113.2", files.around(text("")))
	w.serve("other.test", "203.0.113.3", other.around(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			http.Redirect(rw, r, "http://a.test/", 302)
		}
	}))
	c := w.client(Config{})
	for _, tt := range []struct {
		ref               string
		realms            []string
		own, files, other []string // what each saw
	}{
		{"", nil, []string{basic}, nil, nil},
		{"x/y", nil, []string{basic}, nil, nil},
		{"http://A.test:80/", nil, []string{basic}, nil, nil},
		{"to-other", nil, []string{basic}, nil, []string{""}},
		{"to-port", nil, []string{basic}, nil, []string{""}},
		{"round", nil, []string{basic, ""}, nil, []string{""}},
		{"to-files", nil, []string{basic}, []string{""}, nil},
		{"to-files", []string{"files.test"}, []string{basic}, []string{basic}, nil},
		{"http://files.test/", nil, nil, []string{""}, nil},
		{"http://files.test/", []string{"FILES.test:80"}, nil, []string{basic}, nil},
		{"http://files.test/", []string{"files.test:443", "xfiles.test", "test", ""}, nil, []string{""}, nil},
		{"http://files.test/", []string{"https://files.test"}, nil, []string{""}, nil},
		{"http://files.test/", []string{"http://files.test/x"}, nil, []string{basic}, nil},
		{"http://a.test:8080/", nil, nil, nil, []string{""}},
		{"http://other.test/back", nil, []string{""}, nil, []string{""}},
	} {
		_, err := get(t, c, Request{Base: "http://a.test/", Ref: tt.ref, Auth: auth, Realms: tt.realms})
		if err != nil {
			t.Fatalf("%s: %v", tt.ref, err)
		}
		if o, f, x := own.take(), files.take(), other.take(); !slices.Equal(o, tt.own) || !slices.Equal(f, tt.files) || !slices.Equal(x, tt.other) {
			t.Errorf("%s, realms %q: %q, %q, %q", tt.ref, tt.realms, o, f, x)
		}
	}
	// Credentials in a URL, the operator's or the upstream's, go nowhere.
	if _, err := get(t, c, Request{Base: "http://u:p@a.test/", Ref: "http://u:p@other.test/"}); err != nil {
		t.Fatal(err)
	}
	if x := other.take(); !slices.Equal(x, []string{""}) {
		t.Errorf("user info was sent: %q", x)
	}
}

func TestTrustNeedsTLSWhereTheBaseHasIt(t *testing.T) {
	for _, tt := range []struct {
		base, realm, url string
		want             bool
	}{
		{"https://a.test", "b.test", "https://b.test/x", true},
		{"https://a.test", "b.test", "http://b.test/x", false},
		{"https://a.test", "http://b.test", "http://b.test/x", true},
		{"https://a.test", "", "http://a.test/", false},
		{"https://a.test", "", "https://a.test:443/", true},
		{"http://a.test", "", "https://a.test/", false},
		{"http://a.test", "b.test", "https://b.test:8443/", true},
		{"http://a.test", "[::1]:80", "http://[::1]/", true},
		{"http://a.test", "[::1]", "http://[::1]:81/", true},
		{"http://a.test", "b.test", "http://b.test.evil.test/", false},
		{"http://a.test", "b.test", "http://evil.test/b.test", false},
	} {
		base, err := parseURL(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		u, err := parseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := (trust{originOf(base), []string{tt.realm}}).covers(u); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// registry asks for tokens of realm, which hands out "token-1", "token-2", …
type registry struct {
	log, realmLog log
	realm         string
	life          int // seconds
	issued        int
	queries       []string
	valid         string
}

func (g *registry) serve(w http.ResponseWriter, r *http.Request) {
	if g.valid != "" && r.Header.Get("Authorization") == "Bearer "+g.valid {
		return
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Basic realm="x", Bearer realm=%q,service="s",scope="repository:a/b:pull"`, g.realm))
	w.WriteHeader(http.StatusUnauthorized)
}

func (g *registry) token(w http.ResponseWriter, r *http.Request) {
	g.issued++
	g.queries = append(g.queries, r.URL.RawQuery)
	g.valid = fmt.Sprintf("token-%d", g.issued)
	json.NewEncoder(w).Encode(map[string]any{"access_token": g.valid, "expires_in": g.life}) //nolint:errcheck // a test's server
}

func TestBearerTokens(t *testing.T) {
	w := newWorld(t)
	g := &registry{realm: "http://realm.test/token?x=1", life: 300}
	w.serve("a.test", "203.0.113.1", g.log.around(g.serve))
	w.serve("realm.test", "203.0.113.2", g.realmLog.around(g.token))
	c := w.client(Config{})
	r := Request{Base: "http://a.test/v2", Ref: "a/b/manifests/latest", Auth: auth, Realms: []string{"realm.test"}}
	check := func(what string, seen, realm []string) {
		t.Helper()
		if s, m := g.log.take(), g.realmLog.take(); !slices.Equal(s, seen) || !slices.Equal(m, realm) {
			t.Errorf("%s: the registry saw %q, the realm %q", what, s, m)
		}
	}
	mustGet(t, c, r, "")
	check("first", []string{basic, "Bearer token-1"}, []string{basic})
	if q := g.queries[0]; q != "scope=repository%3Aa%2Fb%3Apull&service=s&x=1" {
		t.Errorf("asked the realm for %s", q)
	}
	r.Ref = "a/b/blobs/sha256:1"
	mustGet(t, c, r, "")
	check("same name", []string{"Bearer token-1"}, nil)
	r.Ref = "c/d/e/blobs/sha256:1"
	mustGet(t, c, r, "")
	check("same scope under another name", []string{basic, "Bearer token-1"}, nil)
	other := r
	other.Auth = &Credentials{"bob", "secret"}
	g.valid = ""
	mustGet(t, c, other, "")
	if seen := g.log.take(); seen[0] == "Bearer token-1" {
		t.Errorf("a token of other credentials was used: %q", seen)
	}
	g.realmLog.take()
	mustGet(t, c, r, "") // token-1 is no longer valid, as the registry says
	check("token refused", []string{"Bearer token-1", "Bearer token-3"}, []string{basic})
	w.add(296 * time.Second)
	mustGet(t, c, r, "")
	check("token expired", []string{basic, "Bearer token-4"}, []string{basic})

	// A token is never sent after a redirect to another origin.
	var far log
	w.serve("far.test", "203.0.113.3", far.around(text("far")))
	w.serve("b.test", "203.0.113.4", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+g.valid {
			g.serve(rw, r)
			return
		}
		http.Redirect(rw, r, "http://far.test/", http.StatusTemporaryRedirect)
	})
	r.Base = "http://b.test/"
	mustGet(t, c, r, "far")
	if seen := far.take(); !slices.Equal(seen, []string{""}) {
		t.Errorf("another origin saw %q", seen)
	}
}

func TestBearerTokenForNobody(t *testing.T) {
	w := newWorld(t)
	g := &registry{realm: "http://realm.test/token"}
	w.serve("a.test", "203.0.113.1", g.log.around(g.serve))
	w.serve("realm.test", "203.0.113.2", g.realmLog.around(g.token))
	c := w.client(Config{})
	mustGet(t, c, Request{Base: "http://a.test/"}, "")
	if s, m := g.log.take(), g.realmLog.take(); !slices.Equal(s, []string{"", "Bearer token-1"}) || !slices.Equal(m, []string{""}) {
		t.Errorf("the registry saw %q, the realm %q", s, m)
	}
}

func TestRealmThatIsNotListed(t *testing.T) {
	w := newWorld(t)
	g := &registry{realm: "http://realm.test/token"}
	w.serve("a.test", "203.0.113.1", g.serve)
	w.serve("realm.test", "203.0.113.2", g.realmLog.around(g.token))
	e := mustFail(t, w.client(Config{}), Request{Base: "http://a.test/", Auth: auth}, formats.ErrUpstream)
	if !errors.Is(e, errRealm) || e.Status != 401 || !strings.Contains(e.Error(), "realm.test") {
		t.Errorf("%v", e)
	}
	if m := g.realmLog.take(); len(m) != 0 {
		t.Errorf("the realm was asked: %q", m)
	}
	// The realm of the origin itself needs no list.
	var own log
	w.serve("b.test", "203.0.113.3", own.around(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			g.token(rw, r)
			return
		}
		g.serve(rw, r)
	}))
	g.realm = "http://b.test/token"
	mustGet(t, w.client(Config{}), Request{Base: "http://b.test/", Auth: auth}, "")
	if s := own.take(); !slices.Equal(s, []string{basic, basic, "Bearer token-1"}) {
		t.Errorf("the origin saw %q", s)
	}
}

func TestRealmBehindTheGuard(t *testing.T) {
	w := newWorld(t)
	g := &registry{realm: "http://private.test/token"}
	w.serve("a.test", "203.0.113.1", g.serve)
	w.serve("private.test", "10.0.0.1", g.token)
	mustFail(t, w.client(Config{}), Request{Base: "http://a.test/"}, ErrAddress)
	if g.issued != 0 {
		t.Error("the realm was asked")
	}
}

func TestBadRealms(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"refuses":       status(403),
		"fails":         status(500),
		"redirects":     redirect("http://realm.test/elsewhere"),
		"garbage":       text("<html>"),
		"no token":      text(`{"expires_in":300}`),
		"empty token":   text(`{"token":""}`),
		"odd token":     text(`{"token":"a\r\nX-Evil: 1"}`),
		"endless token": text(`{"token":"` + strings.Repeat("x", maxTokenSize+1) + `"}`),
		"endless body":  text(`{"token":"x"}` + strings.Repeat(" ", maxTokenBody)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := &registry{realm: "http://realm.test/token"}
			w.serve("a.test", "203.0.113.1", g.serve)
			w.serve("realm.test", "203.0.113.2", h)
			e := mustFail(t, w.client(Config{}), Request{Base: "http://a.test/"}, formats.ErrUpstream)
			if e.Status != 401 {
				t.Errorf("%v", e)
			}
		})
	}
	for _, realm := range []string{"ftp://realm.test/", "/token", "http://[", "realm.test"} {
		w := newWorld(t)
		g := &registry{realm: realm}
		w.serve("a.test", "203.0.113.1", g.serve)
		mustFail(t, w.client(Config{}), Request{Base: "http://a.test/"}, formats.ErrUpstream)
	}
}

// A server that is never content is asked a bounded number of times.
func TestTokenThatIsNotAccepted(t *testing.T) {
	w := newWorld(t)
	g := &registry{realm: "http://realm.test/token"}
	w.serve("a.test", "203.0.113.1", g.log.around(func(rw http.ResponseWriter, r *http.Request) {
		g.valid = ""
		g.serve(rw, r)
	}))
	w.serve("realm.test", "203.0.113.2", g.token)
	c := w.client(Config{})
	for range 3 {
		if e := mustFail(t, c, Request{Base: "http://a.test/"}, formats.ErrUpstream); e.Status != 401 {
			t.Errorf("%v", e)
		}
		if n := len(g.log.take()); n != 2 {
			t.Errorf("asked %d times", n)
		}
	}
}

func TestTokensAreBounded(t *testing.T) {
	w := newWorld(t)
	k := newTokens(w.now)
	for i := range 2 * maxTokens {
		k.keep(keyOf("x", nil, fmt.Sprint(i)), token{"v", w.now().Add(time.Hour)})
	}
	if len(k.kept) > maxTokens {
		t.Errorf("%d kept", len(k.kept))
	}
}

func TestReadTokenLife(t *testing.T) {
	now := newWorld(t).now()
	for body, want := range map[string]time.Duration{
		`{"token":"x"}`:                       leastLife,
		`{"token":"x","expires_in":10}`:       leastLife,
		`{"token":"x","expires_in":-5}`:       leastLife,
		`{"token":"x","expires_in":300}`:      300 * time.Second,
		`{"token":"x","expires_in":1e300}`:    mostLife,
		`{"access_token":"x","expires_in":1}`: leastLife,
	} {
		got, err := readToken(strings.NewReader(body), now)
		if err != nil || got.value != "x" || got.expires.Sub(now) != want-tokenMargin {
			t.Errorf("%s: %v, %v", body, got.expires.Sub(now), err)
		}
	}
}

func TestChallenges(t *testing.T) {
	for value, want := range map[string]string{
		`Bearer realm="https://a/t",service="s",scope="a:b:c"`: "https://a/t s a:b:c",
		`bearer  realm = "https://a/t" , service=s`:            "https://a/t s ",
		`Basic realm="x", Bearer realm="r"`:                    "r  ",
		`Bearer realm="r", Basic realm="x"`:                    "r  ",
		`Negotiate, Bearer realm="r"`:                          "r  ",
		`Negotiate abc==, Bearer realm="r"`:                    "",
		`Bearer error="x"`:                                     "",
		`Bearer realm="a\"b\\"`:                                `a"b\  `,
		`Bearer realm="r", realm="second"`:                     "r  ",
		`Bearer realm="never ends`:                             "",
		`Basic realm="Bearer realm=x"`:                         "",
		``:                                                     "",
		`"`:                                                    "",
	} {
		c, ok := bearer(http.Header{"Www-Authenticate": {value}})
		got := ""
		if ok {
			got = c.params["realm"] + " " + c.params["service"] + " " + c.params["scope"]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://a/t",service="s"`, `Basic, Bearer realm=x`, `A b="\`, `,,,`, `A a=b, B c=d`, "\x00", `Bearer realm = `,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, c := range challenges(http.Header{"Www-Authenticate": {value}}) {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || len(c.scheme) > len(value) {
				t.Errorf("%q: scheme %q", value, c.scheme)
			}
			for name := range c.params {
				if name == "" || strings.Trim(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") != "" {
					t.Errorf("%q: parameter %q", value, name)
				}
			}
		}
	})
}
