package npm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

const install = "application/vnd.npm.install-v1+json"

func TestPublish(t *testing.T) {
	for name, file := range map[string]string{"lib": "lib/-/lib-1.0.0.tgz", "@corp/lib": "@corp/lib/-/lib-1.0.0.tgz"} {
		s := formattest.NewStore(t, format())
		tgz := tarball(t, packageJSON(name, "1.0.0", `,"description":"mine","keywords":["k"],"bin":"cli.js","scripts":{"postinstall":"x"},"dependencies":{"dep":"^1"},"readme":"long","_evil":1,"dist":{"tarball":"x"}`), "package/cli.js=code")
		if _, err := s.Do("PUT", strings.Replace(name, "/", "%2f", 1), nil, document(t, name, "1.0.0", tgz, "beta")); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, file); got != string(tgz) {
			t.Errorf("%s: %d bytes, want %d", file, len(got), len(tgz))
		}
		p := read(t, s, name)
		v := p.Versions["1.0.0"]
		dist := v["dist"].(map[string]any)
		if p.Name != name || p.Tags["latest"] != "1.0.0" || p.Tags["beta"] != "1.0.0" || p.Rev == "" || p.Time["1.0.0"] != "2026-11-22T10:20:30.000Z" ||
			fmt.Sprint(v["dependencies"]) != "map[dep:^1]" || v["_npmVersion"] != "11.0.0" || v["readme"] != nil || v["_evil"] != nil ||
			dist["tarball"] != formattest.Base+file || dist["fileCount"] != 2.0 || v["hasInstallScript"] != true {
			t.Errorf("packument %+v", p)
		}
		short := read(t, s, name, "Accept", install+"; q=1.0, application/json; q=0.8, */*")
		v = short.Versions["1.0.0"]
		if short.Modified != "2026-11-22T10:20:30.000Z" || v["bin"] == nil || v["description"] != nil || v["scripts"] != nil || v["hasInstallScript"] != true || v["dist"] == nil || short.Time != nil {
			t.Errorf("short form %+v", short)
		}
		for _, target := range []string{name + "/1.0.0", name + "/latest"} {
			if got := get(t, s, target); !strings.Contains(got, `"tarball":"`+formattest.Base+file) {
				t.Errorf("%s: %s", target, got)
			}
		}
		if got := get(t, s, name+"/none"); !strings.Contains(got, "not found") {
			t.Errorf("got %s", got)
		}
		mustPublish(t, s, name, "1.1.0", "")
		if err := publish(t, s, name, "1.0.0", ""); !errors.Is(err, formats.ErrExists) {
			t.Errorf("other bytes: %v", err)
		}
		if rev := read(t, s, name).Rev; rev == p.Rev || rev != read(t, s, name).Rev {
			t.Errorf("revisions %s and %s", p.Rev, rev)
		}
	}
}

func TestPublishRefused(t *testing.T) {
	good := tarball(t, packageJSON("lib", "1.0.0", ""))
	for what, body := range map[string][]byte{
		"no JSON":            []byte("hello"),
		"empty":              nil,
		"name in the path":   document(t, "other", "1.0.0", good),
		"another version":    document(t, "lib", "2.0.0", good),
		"another package":    document(t, "lib", "1.0.0", tarball(t, packageJSON("evil", "1.0.0", ""))),
		"no version":         document(t, "lib", "one", tarball(t, packageJSON("lib", "one", ""))),
		"no package.json":    document(t, "lib", "1.0.0", tarball(t, "{")),
		"array":              document(t, "lib", "1.0.0", tarball(t, "[]")),
		"two package.json":   document(t, "lib", "1.0.0", tarball(t, packageJSON("lib", "1.0.0", ""), "package/package.json={}")),
		"no tarball":         document(t, "lib", "1.0.0", []byte("hello")),
		"parent path":        document(t, "lib", "1.0.0", tarball(t, packageJSON("lib", "1.0.0", ""), "package/../../x=y")),
		"absolute path":      document(t, "lib", "1.0.0", tarball(t, packageJSON("lib", "1.0.0", ""), "/etc/x=y")),
		"tag that is one":    document(t, "lib", "1.0.0", good, "2.0.0"),
		"wrong shasum":       bytes.Replace(document(t, "lib", "1.0.0", good), []byte(`"shasum":"`), []byte(`"shasum":"00`), 1),
		"wrong integrity":    bytes.Replace(document(t, "lib", "1.0.0", good), []byte(`"sha512-`), []byte(`"sha512-AAAA`), 1),
		"no base64":          bytes.Replace(document(t, "lib", "1.0.0", good), []byte(`"data":"`), []byte(`"data":"*`), 1),
		"behind the padding": bytes.Replace(document(t, "lib", "1.0.0", good), []byte(`"data":"`), []byte(`"data":"AA==`), 1),
		"cut":                document(t, "lib", "1.0.0", good)[:300],
	} {
		s := formattest.NewStore(t, format())
		if _, err := s.Do("PUT", "lib", nil, body); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%s: %v", what, err)
		}
		if keys := s.Keys(); len(keys) > 0 {
			t.Errorf("%s: stored %q", what, keys)
		}
	}
	for _, name := range []string{"Lib", ".lib", "_lib", "@corp", "-", "lébel", "__proto__", "node_modules", "favicon.ico", "a b", strings.Repeat("x", 215)} {
		s := formattest.NewStore(t, format())
		if err := publish(t, s, name, "1.0.0", ""); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := publish(t, formattest.NewStore(t, format()), "a/b/c", "1.0.0", ""); err == nil {
		t.Error("a/b/c was published")
	}
}

// Escapes that other writers of JSON use in base64 mean the same.
func TestEscapes(t *testing.T) {
	s := formattest.NewStore(t, format())
	tgz := tarball(t, packageJSON("lib", "1.0.0", ""))
	doc := document(t, "lib", "1.0.0", tgz)
	i := bytes.Index(doc, []byte(`"data":"`)) + 8
	data := bytes.ReplaceAll(bytes.ReplaceAll(doc[i:], []byte("/"), []byte(`\/`)), []byte("+"), []byte(`\u002B`))
	if _, err := s.Do("PUT", "lib", nil, append(doc[:i:i], data...)); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "lib/-/lib-1.0.0.tgz"); got != string(tgz) {
		t.Error("other bytes were stored")
	}
}

func TestTags(t *testing.T) {
	s := formattest.NewStore(t, format())
	mustPublish(t, s, "lib", "1.0.0", "")
	mustPublish(t, s, "lib", "2.0.0", "")
	do := func(method, target, body string, want error) {
		t.Helper()
		if _, err := s.Do(method, "-/package/lib/dist-tags/"+target, nil, []byte(body)); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s %s: %v, want %v", method, target, err, want)
		}
	}
	do("PUT", "stable", `"1.0.0"`, nil)
	do("PUT", "stable", `"3.0.0"`, formats.ErrNotFound)
	do("PUT", "stable", `{}`, formats.ErrBadRequest)
	do("PUT", "1.0.0", `"1.0.0"`, formats.ErrNotFound) // no tag, so no route
	do("DELETE", "latest", "", formats.ErrBadRequest)
	if got := get(t, s, "-/package/lib/dist-tags"); got != `{"latest":"2.0.0","stable":"1.0.0"}` {
		t.Errorf("tags %s", got)
	}
	do("DELETE", "stable", "", nil)
	do("DELETE", "stable", "", formats.ErrNotFound)
	if got := get(t, s, "-/package/lib/dist-tags"); got != `{"latest":"2.0.0"}` {
		t.Errorf("tags %s", got)
	}
}

// change fetches the document as npm does, changes it and sends it back.
func change(t *testing.T, s *formattest.Store, target func(rev string) string, f func(versions map[string]any)) error {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(get(t, s, "lib?write=true", "Accept", install)), &doc); err != nil {
		t.Fatal(err)
	}
	f(doc["versions"].(map[string]any))
	body, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Do("PUT", target(doc["_rev"].(string)), nil, body)
	return err
}

func TestDeprecate(t *testing.T) {
	s := formattest.NewStore(t, format())
	mustPublish(t, s, "lib", "1.0.0", `,"deprecated":"by itself"`)
	mustPublish(t, s, "lib", "2.0.0", "")
	plain := func(string) string { return "lib" }
	say := func(message string) {
		t.Helper()
		err := change(t, s, plain, func(versions map[string]any) { versions["1.0.0"].(map[string]any)["deprecated"] = message })
		if err != nil {
			t.Fatal(err)
		}
	}
	say("old <b>")
	if v := read(t, s, "lib", "Accept", install).Versions; v["1.0.0"]["deprecated"] != "old <b>" || v["2.0.0"]["deprecated"] != nil {
		t.Errorf("versions %v", v)
	}
	say("")
	if v := read(t, s, "lib").Versions; v["1.0.0"]["deprecated"] != nil {
		t.Errorf("versions %v", v)
	}
	err := change(t, s, plain, func(versions map[string]any) { versions["3.0.0"] = versions["2.0.0"] })
	if !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("a version without a tarball: %v", err)
	}
}

func TestUnpublish(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0-rc.1"} {
		mustPublish(t, s, "lib", v, "", "t"+v)
	}
	withRev := func(rev string) string { return "lib/-rev/" + rev }
	stale := ""
	err := change(t, s, func(rev string) string { stale = rev; return withRev(rev) }, func(versions map[string]any) { delete(versions, "2.0.0-rc.1") })
	if err != nil {
		t.Fatal(err)
	}
	p := read(t, s, "lib")
	if len(p.Versions) != 2 || p.Tags["latest"] != "1.1.0" || p.Tags["t2.0.0-rc.1"] != "" || p.Tags["t1.0.0"] != "1.0.0" {
		t.Errorf("packument %+v", p)
	}
	// Somebody publishes between the client's read and its write.
	err = change(t, s, func(string) string { return withRev(stale) }, func(versions map[string]any) { delete(versions, "1.0.0") })
	if !errors.Is(err, formats.ErrPrecondition) {
		t.Errorf("an old revision: %v", err)
	}
	if _, err := s.Do("DELETE", "lib/-/lib-2.0.0-rc.1.tgz/-rev/x", nil, nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("a tarball that is gone: %v", err)
	}
	if _, err := s.Do("DELETE", "lib/-/lib-1.1.0.tgz", nil, nil); err != nil {
		t.Error(err)
	}
	if p = read(t, s, "lib"); p.Tags["latest"] != "1.0.0" {
		t.Errorf("packument %+v", p)
	}
	if _, err := s.Do("DELETE", "lib/-rev/"+p.Rev, nil, nil); err != nil || len(s.Keys()) > 0 {
		t.Errorf("left %q, %v", s.Keys(), err)
	}
	if _, err := s.Do("PUT", "lib/-rev/1-x", nil, []byte(`{"maintainers":[]}`)); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("owners: %v", err)
	}
}

func TestCalls(t *testing.T) {
	s := formattest.NewStore(t, format())
	mustPublish(t, s, "@corp/lib", "1.0.0", `,"description":"Pads","keywords":["left"],"author":"me"`)
	mustPublish(t, s, "@corp/lib", "1.1.0", `,"description":"Pads more","keywords":["left"]`)
	mustPublish(t, s, "other", "1.0.0", "")
	for target, want := range map[string]string{
		"-/ping":                    "{}",
		"-/npm/v1/keys":             `{"keys":[]}`,
		"-/v1/search?text=nothing":  `{"objects":[],"time":"","total":0}`,
		"-/v1/search?text=x&size=y": "error: bad request: \"y\" is no number of results",
	} {
		if got := get(t, s, target); got != want {
			t.Errorf("%s: %s", target, got)
		}
	}
	for _, text := range []string{"corp", "PADS%20left", "keywords:left", "more"} {
		if got := get(t, s, "-/v1/search?text="+text); strings.Count(got, `"package":`) != 1 || !strings.Contains(got, `"version":"1.1.0"`) {
			t.Errorf("search for %s: %s", text, got)
		}
	}
	if got := get(t, s, "-/v1/search?text=&from=1&size=1"); !strings.Contains(got, `"total":2`) || strings.Count(got, `"package":`) != 1 || !strings.Contains(got, `"name":"@corp/lib"`) {
		t.Errorf("the second result: %s", got)
	}
	a, err := s.Do("POST", "-/npm/v1/security/advisories/bulk", nil, []byte(`{"lib":["1.0.0"]}`))
	if err != nil || string(a.Body) != "{}" {
		t.Errorf("audit: %v %v", a, err)
	}
	if a, err = s.Do("POST", "-/npm/v1/security/audits/quick", nil, []byte(`{}`)); err != nil || !strings.Contains(string(a.Body), `"vulnerabilities":{"critical":0`) {
		t.Errorf("audit: %v %v", a, err)
	}
	if _, err := s.Do("POST", "-/v1/login", nil, nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("web log-in: %v", err)
	}
}

func TestFail(t *testing.T) {
	for status, want := range map[int]int{409: 403, 412: 409, 404: 404, 400: 400, 401: 401} {
		w := httptest.NewRecorder()
		if !format().Fail(w, httptest.NewRequest("PUT", "/", nil), status, `no "such" <thing>`) || w.Code != want || !strings.Contains(w.Body.String(), `"error":"`) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d: %d %s", status, w.Code, w.Body)
		}
	}
}

func FuzzPublish(f *testing.F) {
	f.Add("lib", document(f, "lib", "1.0.0", tarball(f, packageJSON("lib", "1.0.0", ""))))
	f.Add("@a/b", document(f, "@a/b", "1.0.0", []byte("x")))
	f.Add("lib/-rev/1-x", []byte(`{"versions":{}}`))
	f.Fuzz(func(t *testing.T, target string, body []byte) {
		s := formattest.NewStore(t, format())
		if formats.CheckPath(target) != nil {
			t.Skip()
		}
		op, ok := format().Route(formats.Req{Method: http.MethodPut, Path: target})
		if !ok || op.Kind != formats.Write {
			t.Skip()
		}
		tx := formattest.NewTx(t, s)
		err := format().Accept(t.Context(), op, &formats.Upload{Header: http.Header{}, Body: bytes.NewReader(body), Size: -1}, tx)
		if err != nil && !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrTooLarge) && !errors.Is(err, formats.ErrNotFound) && !errors.Is(err, formats.ErrPrecondition) {
			t.Error(err)
		}
		if err != nil && len(tx.Puts)+len(tx.Deletes) > 0 {
			t.Errorf("%v after a Put", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(`{"name":"lib","dist-tags":{"latest":"1.0.0"},"time":{"1.0.0":"2024-01-01T00:00:00.000Z","unpublished":{}},"versions":{"1.0.0":{"name":"lib","version":"1.0.0","dist":{"tarball":"http://x/lib-1.0.0.tgz","shasum":"da39a3ee5e6b4b0d3255bfef95601890afd80709","integrity":"sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="}}}}`)
	f.Fuzz(func(t *testing.T, doc string) {
		src := &formattest.Source{Files: map[string]string{"lib": doc}}
		last := ""
		for rec, err := range format().Parse(t.Context(), "lib", src) {
			if err != nil {
				if !errors.Is(err, formats.ErrUpstream) {
					t.Error(err)
				}
				return
			}
			if rec.Name <= last || formats.CheckPath(rec.Key()) != nil {
				t.Errorf("record %q after %q", rec.Name, last)
			}
			last = rec.Name
		}
	})
}

func TestSpeaks(t *testing.T) {
	for agent, want := range map[string]bool{
		"npm/11.19.1 node/v20.20.2 linux x64": true, "pnpm/9.8.0 npm/? node/v20.20.2 linux x64": true, "yarn/1.22.22 npm/? node/v20.20.2 linux x64": true,
		"Bun/1.2.0": true, "curl/8.0": false, "": false, "npmx/1": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/repository/r/lib", nil)
		r.Header.Set("User-Agent", agent)
		if got := format().Speaks(r); got != want {
			t.Errorf("%q: %v", agent, got)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, p := range []string{"lib", "@a/b/-/b-1.0.0.tgz", "-/package/@a/b/dist-tags/x", "-/npm/v1/attestations/lib@1.0.0", "lib/-rev/1", "-/user/org.couchdb.user:x"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "POST"} {
			f.Add(method, p)
		}
	}
	f.Fuzz(func(t *testing.T, method, p string) {
		if formats.CheckPath(p) != nil {
			t.Skip()
		}
		op, ok := format().Route(formats.Req{Method: method, Path: p, Header: http.Header{}})
		if ok && op.Kind == formats.File && (op.Name == "" || op.Scope == "") {
			t.Errorf("%q: %+v", p, op)
		}
	})
}
