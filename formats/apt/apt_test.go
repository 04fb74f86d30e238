package apt_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"granary/digest"
	"granary/formats"
	"granary/formats/formattest"
)

// plain signs nothing; what a signature is made of is tested with the keys.
type plain struct{ err error }

func (p plain) Clear(b []byte) ([]byte, error) {
	return append([]byte("signed:\n"), b...), p.err
}

func (p plain) Detached(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(r)
	return fmt.Appendf(nil, "signature of %d bytes", len(b)), errors.Join(err, p.err)
}
func (plain) Public(armored bool) ([]byte, error) { return fmt.Appendf(nil, "key %t\n", armored), nil }
func (plain) Fingerprints() []string              { return []string{"AB"} }

func render(t testing.TB, s *formattest.Store, scope string, set formats.Settings) map[string]*formattest.Doc {
	t.Helper()
	pub := &formattest.Pub{Keys: plain{}, Set: set}
	if err := format().Render(t.Context(), scope, s.Records(t.Context(), scope), pub); err != nil {
		t.Fatal(err)
	}
	return pub.Docs
}

func put(t testing.TB, s *formattest.Store, target, deb string) {
	t.Helper()
	if err := accept(t, s, "PUT", target, http.Header{}, deb); err != nil {
		t.Fatalf("PUT %s: %v", target, err)
	}
}

func TestRoutes(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for target, want := range map[string]string{
		"dists/stable/InRelease":                               "release dists/stable InRelease",
		"dists/stable/Release.gpg":                             "release dists/stable Release.gpg",
		"dists/buster/updates/InRelease":                       "release dists/buster/updates InRelease",
		"dists/buster/updates/main/binary-amd64/Packages":      "index dists/buster/updates main/binary-amd64/Packages",
		"dists/buster/updates/binary-amd64/Packages.gz":        "index dists/buster updates/binary-amd64/Packages.gz",
		"dists/buster/updates/Contents-amd64.gz":               "index dists/buster updates/Contents-amd64.gz",
		"dists/stable/main/binary-amd64/Packages.gz":           "index dists/stable main/binary-amd64/Packages.gz",
		"dists/stable/main/binary-amd64/by-hash/SHA256/" + sum: "index dists/stable main/binary-amd64/by-hash/SHA256/" + sum,
		"dists/stable/main/by-hash/SHA256/short":               "",
		"dists/stable/main/by-hash/SHA3/" + sum:                "",
		"dists/stable":                                         "",
		"dists/../x":                                           "",
		"public.key":                                           "key :keys public.key",
		"public.gpg":                                           "key :keys public.gpg",
		"setup.sh":                                             "key :keys setup.sh",
		"distributions":                                        "distributions dists distributions",
		"pool/main/h/hello/hello_1_all.deb":                    "package pool/main/h/hello hello_1_all.deb",
		"pool/main/h/hello/:x":                                 "",
		"InRelease":                                            "release :flat InRelease",
		"cuda/x86_64/Packages.gz":                              "index :flat/cuda/x86_64 Packages.gz",
		"cuda/by-hash/SHA256/" + sum:                           "index :flat/cuda by-hash/SHA256/" + sum,
		"file":                                                 "",
	} {
		if strings.Contains(target, "..") {
			continue
		}
		op, ok := format().Route(formattest.Request(t, "GET", target, nil))
		got := ""
		if ok {
			got = op.Label + " " + op.Scope + " " + op.Path + op.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "dists/stable/main/binary-amd64/by-hash/SHA256/ab")
	f.Add("PUT", "pool/x/y/upload")
	f.Add("PUT", "a.deb;deb.distribution=x")
	f.Add("DELETE", "dists/x")
	f.Fuzz(func(t *testing.T, method, path string) {
		if formats.CheckPath(path) != nil {
			return // the core refuses it
		}
		op, ok := format().Route(formats.Req{Method: method, Path: path, Header: http.Header{}})
		if ok && op.Kind == formats.File && (op.Name == "" || formats.Join(op.Scope, op.Name) != path) {
			t.Errorf("%q is %q", path, op.Key())
		}
	})
}

func TestRender(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", "1.0", "amd64"), "one"))
	put(t, s, "pool/stable/main/upload", debOf(t, ".xz", control("data", "1.0", "all"), "two"))
	put(t, s, "x.deb;deb.distribution=stable;deb.component=extra;deb.architecture=arm64", debOf(t, ".zst", control("libtool", "2:1.0", "arm64"), "one"))
	docs := render(t, s, "dists/stable", formats.Settings{Architectures: []string{"riscv64"}, ValidFor: 48 * time.Hour})

	names := func(path string) string {
		d := docs[path]
		if d == nil {
			return "missing"
		}
		var out []string
		for line := range strings.Lines(string(d.Body)) {
			if name, ok := strings.CutPrefix(line, "Package: "); ok {
				out = append(out, strings.TrimSpace(name))
			}
		}
		return strings.Join(out, " ")
	}
	for path, want := range map[string]string{
		"main/binary-amd64/Packages": "data hello", "main/binary-all/Packages": "data", "main/binary-riscv64/Packages": "data",
		"extra/binary-arm64/Packages": "libtool", "extra/binary-riscv64/Packages": "", "main/binary-arm64/Packages": "data",
		"extra/binary-all/Packages": "", "extra/binary-amd64/Packages": "", "main/binary-mips/Packages": "missing",
	} {
		if got := names(path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	if got := string(docs["extra/binary-arm64/Packages"].Body); !strings.Contains(got, "Filename: pool/extra/libt/libtool/libtool_1.0_arm64.deb\n") {
		t.Errorf("stanza: %s", got)
	}
	text := string(docs["Release"].Body)
	for _, want := range []string{
		"Suite: stable\n", "Date: Sun, 22 Nov 2026 10:20:30 UTC\n", "Valid-Until: Tue, 24 Nov 2026 10:20:30 UTC\n",
		"Architectures: all amd64 arm64 riscv64\n", "Components: extra main\n", "Acquire-By-Hash: yes\n", "No-Support-for-Architecture-all: Packages\n",
		"Changelogs: no\n", " extra/binary-arm64/Release\n", " main/source/Release\n", " main/Contents-amd64\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Release lacks %q:\n%s", want, text)
		}
	}
	if got, want := string(docs["extra/binary-arm64/Release"].Body), "Archive: stable\nOrigin: granary\nLabel: granary\nAcquire-By-Hash: yes\nComponent: extra\nArchitecture: arm64\n"; got != want {
		t.Errorf("Release of a section %q, want %q", got, want)
	}
	if string(docs["InRelease"].Body) != "signed:\n"+text || len(docs["Release.gpg"].Body) == 0 {
		t.Error("the signed forms are of another text")
	}
	checkRelease(t, docs, text)
	for arch, want := range map[string]string{
		"amd64": "usr/share/doc/x/one\tmisc/hello\nusr/share/doc/x/two\tmisc/data\n", "all": "usr/share/doc/x/two\tmisc/data\n",
	} {
		contents, err := gzip.NewReader(bytes.NewReader(docs["main/Contents-"+arch+".gz"].Body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(contents); err != nil || string(b) != want {
			t.Errorf("Contents of %s %q, %v", arch, b, err)
		}
	}
}

// checkRelease holds what Release lists against the documents, also under the
// paths that name them by digest.
func checkRelease(t *testing.T, docs map[string]*formattest.Doc, text string) {
	t.Helper()
	_, list, _ := strings.Cut(text, "\nSHA256:\n")
	list, _, _ = strings.Cut(list, "\nSHA512:")
	n := 0
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		d := docs[words[2]]
		if d == nil {
			checkContents(t, docs[words[2]+".gz"], words)
			continue
		}
		sum := sha256.Sum256(d.Body)
		if hex.EncodeToString(sum[:]) != words[0] || fmt.Sprint(len(d.Body)) != words[1] {
			t.Errorf("%s is not what Release lists", words[2])
		}
		dir := words[2][:strings.LastIndexByte(words[2], '/')]
		if other := docs[dir+"/by-hash/SHA256/"+words[0]]; other == nil || !bytes.Equal(other.Body, d.Body) {
			t.Errorf("%s is not there under its digest", words[2])
		}
		n++
	}
	if n < 10 {
		t.Errorf("Release lists %d files:\n%s", n, text)
	}
}

// checkContents holds what Release lists of Contents as they are against their
// compressed form, the only one that is there.
func checkContents(t *testing.T, d *formattest.Doc, words []string) {
	t.Helper()
	if d == nil || !strings.Contains(words[2], "/Contents-") {
		t.Errorf("Release lists %s, which is not there", words[2])
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(d.Body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	sum := sha256.Sum256(b)
	if err != nil || hex.EncodeToString(sum[:]) != words[0] || fmt.Sprint(len(b)) != words[1] {
		t.Errorf("%s.gz is another than Release lists: %v", words[2], err)
	}
}

// A signature that fails fails the publication.
func TestSignatureFails(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", "1.0", "amd64"), "one"))
	boom := errors.New("boom")
	for _, keys := range []formats.Signer{nil, plain{boom}} {
		pub := &formattest.Pub{Keys: keys}
		if err := format().Render(t.Context(), "dists/stable", s.Records(t.Context(), "dists/stable"), pub); err == nil {
			t.Error("documents were published unsigned")
		}
	}
}

func TestDelete(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "x.deb;deb.distribution=stable,testing", debOf(t, ".gz", control("hello", "1.0", "amd64"), "one"))
	put(t, s, "pool/testing/main/upload", debOf(t, ".gz", control("other", "1.0", "amd64"), "one"))
	if err := accept(t, s, "DELETE", "pool/main/h/hello/hello_1.0_amd64.deb", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := pointers(t, s, "dists/stable"); got != "main/amd64/:section" {
		t.Errorf("stable still lists %s", got)
	}
	// Clients that have the index find it empty, not gone.
	docs := render(t, s, "dists/stable", formats.Settings{})
	if index := docs["main/binary-amd64/Packages"]; index == nil || len(index.Body) != 0 || !strings.Contains(string(docs["Release"].Body), "\nArchitectures: amd64\nComponents: main\n") {
		t.Errorf("an empty distribution has the index %v, Release\n%s", index, docs["Release"].Body)
	}
	if got := pointers(t, s, "dists/testing"); !strings.Contains(got, "other") || strings.Contains(got, "hello") {
		t.Errorf("testing lists %s", got)
	}
	if err := accept(t, s, "DELETE", "dists/testing", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := pointers(t, s, "dists/testing") + pointers(t, s, "dists"); got != ":stable" {
		t.Errorf("left are %s", got)
	}
	if err := accept(t, s, "DELETE", "dists/none", nil, ""); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("delete of no distribution: %v", err)
	}
}

func pointers(t *testing.T, s *formattest.Store, scope string) string {
	t.Helper()
	var out []string
	for rec, err := range s.Records(t.Context(), scope) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec.Name)
	}
	return strings.Join(out, " ")
}

// A package that lies elsewhere in the pool, for another distribution, is
// another one: it is not deleted with it, and takes no place of it.
func TestSameNameElsewhere(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", "1.0", "amd64"), "one"))
	if err := accept(t, s, "POST", "snapshots", http.Header{}, `{"source":"stable","name":"stable-1"}`); err != nil {
		t.Fatal(err)
	}
	other := debOf(t, ".gz", control("hello", "1.0", "amd64")+"Source: other\n", "other")
	for _, dist := range []string{"stable", "stable-1"} {
		if err := accept(t, s, "PUT", "pool/"+dist+"/main/upload", http.Header{}, other); !errors.Is(err, formats.ErrExists) {
			t.Errorf("other bytes in %s: %v, want ErrExists", dist, err)
		}
	}
	put(t, s, "pool/testing/main/upload", other)
	if err := accept(t, s, "DELETE", "pool/main/h/hello/hello_1.0_amd64.deb", nil, ""); err != nil {
		t.Fatal(err)
	}
	for dist, want := range map[string]bool{"stable": false, "stable-1": false, "testing": true} {
		if got := pointers(t, s, "dists/"+dist); strings.Contains(got, "hello") != want {
			t.Errorf("%s lists %s", dist, got)
		}
	}
}

func TestSnapshot(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", "1.0", "amd64"), "one"))
	if err := accept(t, s, "POST", "snapshots", http.Header{}, `{"source":"stable","name":"stable-1"}`); err != nil {
		t.Fatal(err)
	}
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", "1.1", "amd64"), "one"))
	if got := pointers(t, s, "dists/stable-1"); strings.Contains(got, "1.1") || !strings.Contains(got, "1.0") {
		t.Errorf("the snapshot lists %s", got)
	}
	for body, want := range map[string]error{
		`{"source":"stable","name":"stable-1"}`: formats.ErrExists,
		`{"source":"none","name":"x"}`:          formats.ErrNotFound,
		`{"source":"stable","name":"../x"}`:     formats.ErrBadRequest,
		`{"source":"stable"}`:                   formats.ErrBadRequest,
		`nonsense`:                              formats.ErrBadRequest,
	} {
		if err := accept(t, s, "POST", "snapshots", http.Header{}, body); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
	var list []string
	if err := json.Unmarshal(render(t, s, "dists", formats.Settings{})["distributions"].Body, &list); err != nil || strings.Join(list, " ") != "stable stable-1" {
		t.Errorf("distributions %v, %v", list, err)
	}
}

func TestBadUploads(t *testing.T) {
	deb := debOf(t, ".gz", control("hello", "1.0", "amd64"), "one")
	form := func(parts ...formattest.Part) (http.Header, string) {
		h, b := formattest.Form(t, parts...)
		return h, string(b)
	}
	file := formattest.Part{Name: "file", File: "x.deb", Content: deb}
	for name, parts := range map[string][]formattest.Part{
		"no file":          {{Name: "distribution", Content: "stable"}},
		"bad distribution": {{Name: "distribution", Content: "../x"}, file},
		"bad component":    {{Name: "component", Content: "a/b"}, file},
		"stray file":       {file, {Name: "file", File: "notes.txt", Content: "x"}},
		"not a package":    {{Name: "file", File: "x.deb", Content: "hello"}},
	} {
		s := formattest.NewStore(t, format())
		h, body := form(parts...)
		if err := accept(t, s, "POST", "upload", h, body); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%s: %v, want ErrBadRequest", name, err)
		}
	}
	s := formattest.NewStore(t, format())
	if err := accept(t, s, "PUT", "x.deb;deb.architecture=arm64", http.Header{}, deb); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("another architecture: %v", err)
	}
	// A package that is called a form, as clients of other servers send it.
	if err := accept(t, s, "POST", "", http.Header{"Content-Type": {"multipart/form-data"}}, deb); err != nil {
		t.Errorf("bare package: %v", err)
	}
	other := debOf(t, ".gz", control("hello", "1.0", "amd64"), "other")
	if err := accept(t, s, "PUT", "x.deb", http.Header{}, other); !errors.Is(err, formats.ErrExists) {
		t.Errorf("other bytes: %v, want ErrExists", err)
	}
	// Its place in the pool is another, its coordinates are the same.
	moved := debOf(t, ".gz", control("hello", "1.0", "amd64")+"Source: other\n", "other")
	if err := accept(t, s, "PUT", "x.deb", http.Header{}, moved); !errors.Is(err, formats.ErrExists) {
		t.Errorf("other bytes of another source: %v, want ErrExists", err)
	}
	if got := pointers(t, s, "pool/main/o/other"); got != "" {
		t.Errorf("what was refused is in the pool: %s", got)
	}
	if err := accept(t, s, "PUT", "x.deb;deb.distribution=testing", http.Header{}, moved); err != nil {
		t.Errorf("in another distribution: %v", err)
	}
}

// Contents has the files of the versions that are shown.
func TestContentsOfShown(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, version := range []string{"1.0", "1.0+dfsg", "1.1"} {
		put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", version, "amd64"), version))
	}
	for hidden, want := range map[string]string{"": "1.0 1.0+dfsg 1.1", "1.0": "1.0+dfsg 1.1", "1.1": "1.0 1.0+dfsg"} {
		pub := &formattest.Pub{Keys: plain{}}
		recs := func(yield func(formats.Record, error) bool) {
			for rec, err := range s.Records(t.Context(), "dists/stable") {
				if rec.Name != "main/amd64/hello/:"+hidden && !yield(rec, err) {
					return
				}
			}
		}
		if err := format().Render(t.Context(), "dists/stable", recs, pub); err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(pub.Docs["main/Contents-amd64.gz"].Body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(b)) {
			file, _, _ := strings.Cut(line, "\t")
			got = append(got, path.Base(file))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("without %q: %q, want %q", hidden, got, want)
		}
	}
}

func TestSource(t *testing.T) {
	sum := func(s string) string { return formattest.NewBytes([]byte(s)).Sums().Hex(digest.SHA256) }
	dsc := func(tarball string) string {
		return fmt.Sprintf("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 3.0 (quilt)\nSource: hello\nBinary: hello\nArchitecture: any\nVersion: 1.0-1\n"+
			"Checksums-Sha256:\n %s %d hello_1.0.orig.tar.gz\nFiles:\n d41d8cd98f00b204e9800998ecf8427e %d hello_1.0.orig.tar.gz\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n",
			sum(tarball), len(tarball), len(tarball))
	}
	s := formattest.NewStore(t, format())
	h, b := formattest.Form(t, formattest.Part{Name: "file", File: "hello_1.0-1.dsc", Content: dsc("tarball")},
		formattest.Part{Name: "file", File: "hello_1.0.orig.tar.gz", Content: "tarball"})
	if err := accept(t, s, "POST", "upload", h, string(b)); err != nil {
		t.Fatal(err)
	}
	text := string(render(t, s, "dists/stable", formats.Settings{})["main/source/Sources"].Body)
	for _, want := range []string{"Package: hello\n", "Directory: pool/main/h/hello\n", " hello_1.0-1.dsc\n", " hello_1.0.orig.tar.gz\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("Sources lacks %q:\n%s", want, text)
		}
	}
	// The tarball is in the pool now; a wrong one is not taken.
	h, b = formattest.Form(t, formattest.Part{Name: "file", File: "hello_1.0-1.dsc", Content: dsc("tarball")})
	if err := accept(t, s, "POST", "upload", h, string(b)); err != nil {
		t.Errorf("with the tarball in the pool: %v", err)
	}
	for rec, err := range s.Records(t.Context(), "dists/stable") {
		if err != nil || rec.Path != "pool/main/h/hello/hello_1.0-1.dsc" && !strings.HasSuffix(rec.Name, "/:section") {
			t.Errorf("the pointer %s names %q, %v", rec.Name, rec.Path, err)
		}
	}
	// What is listed is there: without the tarball the source is not.
	if err := accept(t, s, "DELETE", "pool/main/h/hello/hello_1.0.orig.tar.gz", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := pointers(t, s, "dists/stable"); got != "main/source/:section" {
		t.Errorf("listed without its tarball: %s", got)
	}
	for _, content := range []string{"other", "tarbalx"} {
		h, b = formattest.Form(t, formattest.Part{Name: "file", File: "hello_1.0-1.dsc", Content: dsc("tarball")},
			formattest.Part{Name: "file", File: "hello_1.0.orig.tar.gz", Content: content})
		if err := accept(t, formattest.NewStore(t, format()), "POST", "upload", h, string(b)); !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("wrong tarball: %v", err)
		}
	}
}

// What an upstream lists becomes the same pointers that uploads make.
func TestParse(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("hello", "1.0", "amd64"), "one"))
	put(t, s, "pool/stable/main/upload", debOf(t, ".gz", control("data", "1.0", "all"), "one"))
	files := map[string]string{}
	for path, d := range render(t, s, "dists/stable", formats.Settings{}) {
		files["dists/stable/"+path] = string(d.Body)
	}
	files["dists/stable/InRelease"] = files["dists/stable/Release"]
	src := &formattest.Source{Files: files}
	var got []string
	for rec, err := range format().Parse(t.Context(), "dists/stable", src) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec.Name+" "+rec.Path)
	}
	want := "main/all/data/:1.0 pool/main/d/data/data_1.0_all.deb|main/amd64/hello/:1.0 pool/main/h/hello/hello_1.0_amd64.deb"
	if strings.Join(got, "|") != want {
		t.Errorf("got %v", got)
	}
	files["dists/stable/InRelease"] = "NotAutomatic: yes\nButAutomaticUpgrades: no\n" + files["dists/stable/Release"]
	pub := &formattest.Pub{Keys: plain{}}
	if err := format().Render(t.Context(), "dists/stable", format().Parse(t.Context(), "dists/stable", src), pub); err != nil {
		t.Fatal(err)
	}
	if text := string(pub.Docs["Release"].Body); !strings.Contains(text, "\nNotAutomatic: yes\n") || strings.Contains(text, "ButAutomatic") {
		t.Errorf("the Release of a merged distribution lacks what the upstream's has:\n%s", text)
	}
	files["dists/stable/main/binary-amd64/Packages.xz"] += "x"
	for _, err := range format().Parse(t.Context(), "dists/stable", src) {
		if err != nil && !errors.Is(err, formats.ErrUpstream) {
			t.Errorf("a wrong index: %v", err)
		}
	}
	op, _ := format().Route(formattest.Request(t, "GET", "dists/stable/main/binary-amd64/Packages", nil))
	sums, fixed, err := format().Listed(context.Background(), op, src)
	if err != nil || sums.SHA256 == nil || fixed != "dists/stable/main/binary-amd64/by-hash/SHA256/"+sums.Hex(digest.SHA256) {
		t.Errorf("Listed = %v %q %v", sums, fixed, err)
	}
}
