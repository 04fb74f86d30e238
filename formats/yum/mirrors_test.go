package yum_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/yum"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/repotest"
)

func newRig(t *testing.T) *repotest.Rig {
	return repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format { return []formats.Format{yum.New(now)} }})
}

func publish(t *testing.T, r *repotest.Rig, repository string, packages ...rpm) {
	t.Helper()
	for _, p := range packages {
		if _, _, err := r.Send(t.Context(), repository, "PUT", pathOf(p), p.build()); err != nil {
			t.Fatal(err)
		}
	}
}

// A cache of a list of mirrors tries one after the other; with a metalink it
// takes only the metadata that this tells.
func TestMirrors(t *testing.T) {
	r := newRig(t)
	for name, n := range map[string]int{"old": 1, "new": 2} {
		r.Create(name, config.Hosted, "yum", nil)
		publish(t, r, name, hello(n, "x"))
	}
	up := r.Serve(t)
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	bases := []string{"rsync://mirror.example.com/x", dead.URL, up.URL + "/old", up.URL + "/new"}
	var list string
	lists := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, list)
	}))
	defer lists.Close()

	list = "# mirrors\n" + strings.Join(bases, "\n") + "\n"
	r.Cache("plain", "yum", lists.URL+"/mirrorlist?repo=x", 60)
	if doc := unzipped(t, r.Get("plain", "repodata/primary.xml.gz")); !strings.Contains(doc, `ver="1.1"`) {
		t.Errorf("a mirrorlist leads to\n%s", doc)
	}
	if b := r.Get("plain", pathOf(hello(2, ""))); string(b) != string(hello(2, "x").build()) {
		t.Error("a package that one mirror lacks was not taken from the next")
	}
	r.Refused(formats.ErrUpstream, "plain", "GET", "Packages/none.rpm", nil) // one could not be asked

	var urls strings.Builder
	for _, b := range bases {
		fmt.Fprintf(&urls, "<url protocol=\"http\" preference=\"100\">%s/repodata/repomd.xml</url>\n", b)
	}
	list = fmt.Sprintf(`<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="repomd.xml">
<verification><hash type="md5">00</hash><hash type="sha256">%s</hash></verification><resources>%s</resources></file></files></metalink>`,
		sha256Of(r.Get("new", "repodata/repomd.xml")), urls.String())
	r.Cache("linked", "yum", lists.URL+"/metalink?repo=x", 60)
	if doc := unzipped(t, r.Get("linked", "repodata/primary.xml.gz")); !strings.Contains(doc, `ver="1.2"`) {
		t.Errorf("a metalink leads to\n%s", doc)
	}
	for name, text := range map[string]string{"empty": "", "cut": list[:len(list)-20], "other": "<html></html>"} {
		list = text
		r.Cache(name, "yum", lists.URL+"/"+name+".metalink", 60)
		r.Refused(formats.ErrUpstream, name, "GET", "repodata/repomd.xml", nil)
	}
}

func TestLists(t *testing.T) {
	for u, want := range map[string]bool{
		"https://mirrors.example.com/metalink?repo=x&arch=y": true, "http://mirrorlist.example.com/?release=9": true,
		"https://example.com/mirrorlist": true, "https://example.com/mirrorlist/9/base": false, "https://example.com/el9.metalink": true,
		"https://mirror.example.com/el9/": false, "https://example.com/pub/metalinks.d/x": false, "::": false,
	} {
		if got := format().Lists(u); got != want {
			t.Errorf("%s: %v", u, got)
		}
	}
}

// A signature is that of the repomd.xml which was served before it, whenever
// the copies were fetched.
func TestSignatureFollows(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "yum", nil)
	publish(t, r, "origin", hello(1, "x"))
	up := r.Serve(t)
	r.Cache("c", "yum", up.URL+"/origin", 60)
	// What the upstream has had: signatures by repomd.xml.
	signed := map[string]string{}
	check := func(when string) {
		t.Helper()
		signed[string(r.Get("origin", "repodata/repomd.xml"))] = string(r.Get("origin", "repodata/repomd.xml.asc"))
		entry := r.Get("c", "repodata/repomd.xml")
		signature := r.Get("c", "repodata/repomd.xml.asc")
		if want := signed[string(entry)]; want == "" || want != string(signature) {
			t.Errorf("%s: the signature is not that of the repomd.xml", when)
		}
	}
	check("at first")
	r.Clock.Advance(30 * time.Second)
	publish(t, r, "origin", hello(2, "x"))
	check("while the copy is fresh")
	r.Clock.Advance(time.Hour)
	check("when it was due")
	if !strings.Contains(unzipped(t, r.Get("c", "repodata/primary.xml.gz")), `ver="1.2"`) {
		t.Error("the copy was not renewed")
	}
	up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
		if strings.HasSuffix(req.URL.Path, "repomd.xml") {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r.Clock.Advance(time.Hour)
	check("with an upstream that has nothing new")
}

// Malformed metadata of an upstream fails a group that would merge it, and is
// not taken for an empty repository.
func TestBadUpstream(t *testing.T) {
	entry := func(kind, sum, href string) string {
		return fmt.Sprintf(`<repomd><data type=%q><checksum type="sha256">%s</checksum><location href=%q/></data></repomd>`, kind, sum, href)
	}
	bomb := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><metadata><package><name>&b;</name></package></metadata>`
	huge := "<metadata><package><name>" + strings.Repeat("a", 70<<20) + "</name></package></metadata>"
	for name, files := range map[string]map[string]string{
		"no repomd":      {},
		"no xml":         {"repodata/repomd.xml": "hello"},
		"no primary":     {"repodata/repomd.xml": "<repomd></repomd>"},
		"leads out":      {"repodata/repomd.xml": entry("primary", strings.Repeat("00", 32), "../../x")},
		"bad digest":     {"repodata/repomd.xml": entry("primary", "xyz", "repodata/p.xml")},
		"other bytes":    {"repodata/repomd.xml": entry("primary", strings.Repeat("00", 32), "repodata/p.xml"), "repodata/p.xml": "<metadata/>"},
		"missing":        {"repodata/repomd.xml": entry("primary", strings.Repeat("00", 32), "repodata/p.xml")},
		"bomb":           {"repodata/repomd.xml": entry("primary", sha256Of([]byte(bomb)), "repodata/p.xml"), "repodata/p.xml": bomb},
		"huge":           {"repodata/repomd.xml": entry("primary", sha256Of([]byte(huge)), "repodata/p.xml"), "repodata/p.xml": huge},
		"cut":            {"repodata/repomd.xml": entry("primary", sha256Of([]byte("<metadata><package>")), "repodata/p.xml"), "repodata/p.xml": "<metadata><package>"},
		"no compression": {"repodata/repomd.xml": entry("primary", sha256Of([]byte("x")), "repodata/p.xml.gz"), "repodata/p.xml.gz": "x"},
	} {
		src := &formattest.Source{Files: files}
		var err error
		for _, e := range format().Parse(t.Context(), "repodata", src) {
			err = e
		}
		if !errors.Is(err, formats.ErrUpstream) && !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a tree has beside packages comes through a cache byte by byte: metadata of
// kinds that nobody here knows, deltas, and what installers ask for.
func TestTree(t *testing.T) {
	r := newRig(t)
	presto := "<prestodelta><newpackage name=\"a\"/></prestodelta>"
	files := map[string]string{
		"repodata/" + sha256Of([]byte(presto)) + "-prestodelta.xml": presto,
		"drpms/a-1-1_2-1.x86_64.drpm":                               "delta",
		".treeinfo":                                                 "[general]\n",
		"images/pxeboot/vmlinuz":                                    "kernel",
		"images/boot.iso":                                           strings.Repeat("iso", 1<<20),
		"media.1/media":                                             "SUSE\n",
	}
	files["repodata/repomd.xml"] = fmt.Sprintf(`<repomd><data type="prestodelta"><checksum type="sha256">%[1]s</checksum><location href="repodata/%[1]s-prestodelta.xml"/></data></repomd>`, sha256Of([]byte(presto)))
	var mu sync.Mutex
	asked := map[string]int{} // guarded by mu
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name := strings.TrimPrefix(req.URL.Path, "/")
		mu.Lock()
		asked[name]++
		mu.Unlock()
		if text, ok := files[name]; ok {
			fmt.Fprint(w, text)
			return
		}
		http.NotFound(w, req)
	}))
	r.Cache("c", "yum", up.URL, 60)
	for range 2 {
		for name, want := range files {
			if got := string(r.Get("c", name)); got != want {
				t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
			}
		}
	}
	up.Close()
	mu.Lock()
	defer mu.Unlock()
	for name := range files {
		if asked[name] != 1 {
			t.Errorf("%s was asked for %d times", name, asked[name])
		}
	}
}

// Packages may lie beside the root that lists them, in a pool of several roots;
// what lies outside of the upstream is left out.
func TestBesideRoot(t *testing.T) {
	text := `<metadata xmlns="http://linux.duke.edu/metadata/common">`
	for i, href := range []string{"../../pool/a.rpm", "Packages/b.rpm", "../../../c.rpm"} {
		text += fmt.Sprintf(`<package type="rpm"><name>p%d</name><arch>noarch</arch><version epoch="0" ver="1" rel="1"/>`+
			`<checksum type="sha256" pkgid="YES">%s</checksum><location href=%q/></package>`, i, sha256Of([]byte(href)), href)
	}
	text += "</metadata>"
	files := map[string]string{
		"el9/os/repodata/primary.xml": text,
		"el9/os/repodata/repomd.xml":  fmt.Sprintf(`<repomd><data type="primary"><checksum type="sha256">%s</checksum><location href="repodata/primary.xml"/></data></repomd>`, sha256Of([]byte(text))),
	}
	const scope = "el9/os/repodata"
	pub := &formattest.Pub{Keys: signer{}}
	if err := format().Render(t.Context(), scope, format().Parse(t.Context(), scope, &formattest.Source{Files: files}), pub); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, pub.Docs); got != "../../pool/a.rpm Packages/b.rpm" {
		t.Errorf("a group lists %q", got)
	}
}

// Of comps and its like, what can't be kept is left out; the rest is merged.
func TestOddParts(t *testing.T) {
	files := map[string]string{}
	var entry strings.Builder
	for kind, text := range map[string]string{
		"primary": `<metadata packages="0"></metadata>`,
		"group":   "<comps><grouphierarchy><x/></grouphierarchy><group><id>g</id></group></comps>",
		"modules": "---\na: b\n---\ndocument: modulemd\ndata: {name: m, stream: 1}\n",
	} {
		files["repodata/"+kind] = text
		fmt.Fprintf(&entry, `<data type=%q><checksum type="sha256">%s</checksum><location href="repodata/%s"/></data>`, kind, sha256Of([]byte(text)), kind)
	}
	files["repodata/repomd.xml"] = "<repomd>" + entry.String() + "</repomd>"
	var got []string
	for rec, err := range format().Parse(t.Context(), "repodata", &formattest.Source{Files: files}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec.Name)
	}
	if s := strings.Join(got, " "); s != "comps/:group:g modules/:modulemd:m:1:::" {
		t.Errorf("%q", s)
	}
}

// What retention removes leaves the metadata, too.
func TestRemovedByRetention(t *testing.T) {
	r := newRig(t)
	c := r.Create("h", config.Hosted, "yum", nil)
	publish(t, r, "h", hello(1, "x"), hello(2, "x"))
	space := kv.Space{Repo: c.ID, Shards: c.Shards}
	name := strings.TrimPrefix(pathOf(hello(1, "")), "Packages/")
	rec, _, err := r.Records.Get(t.Context(), space, "Packages", name, record.Latest)
	if err != nil {
		t.Fatal(err)
	}
	r.Clock.Advance(time.Hour)
	if ok, err := r.RemoveRecord(t.Context(), c, record.Named{Scope: "Packages", Name: name, Record: rec}, r.Clock.Now()); !ok || err != nil {
		t.Fatalf("remove: %v, %v", ok, err)
	}
	if doc := unzipped(t, r.Get("h", "repodata/primary.xml.gz")); strings.Contains(doc, `ver="1.1"`) || !strings.Contains(doc, `ver="1.2"`) {
		t.Errorf("the metadata is\n%s", doc)
	}
}
