package apt_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
	"granary/repo"
	"granary/repo/config"
)

var (
	fileField = regexp.MustCompile(`(?m)^Filename: (.+)$`)
	sumField  = regexp.MustCompile(`(?m)^SHA256: (.+)$`)
)

// Two members have a package of one name, version and architecture with different
// bytes, each in a distribution of its own: what the group's indexes name is what
// it gives, also in a group of groups, in a cache of the group and in a group of
// that cache.
func TestGroupOfTwoPools(t *testing.T) {
	r := newRig(t)
	ids := map[string]string{}
	for _, name := range []string{"empty", "debian", "ubuntu"} {
		ids[name] = r.Create(name, config.Hosted, "apt", nil).ID
	}
	const name = "zlib1g_1.0_amd64.deb"
	debs := map[string]string{}
	for repository, dist := range map[string]string{"debian": "stable", "ubuntu": "noble"} {
		debs[dist] = debOf(t, ".gz", control("zlib1g", "1.0", "amd64"), repository)
		r.Put(repository, "pool/"+dist+"/main/upload", []byte(debs[dist]))
	}
	r.Put("debian", "pool/noble/main/upload", []byte(debOf(t, ".gz", control("extra", "1.0", "all"), "extra")))
	up := r.Serve(t)
	r.Group("both", "apt", "debian", "ubuntu")
	r.Group("outer", "apt", "empty", "both")
	ids["cache"] = r.Cache("cache", "apt", up.URL+"/both", 60).ID
	r.Group("far", "apt", "cache")
	r.Group("farther", "apt", "empty", "far")

	const pool = "pool/main/z/zlib1g/" + name
	paths := map[string]string{}
	for _, repository := range []string{"both", "outer", "cache", "far", "farther"} {
		for dist, deb := range debs {
			index := string(r.Get(repository, "dists/"+dist+"/main/binary-amd64/Packages"))
			_, index, _ = strings.Cut(index, "Package: zlib1g\n")
			file, sum := fileField.FindStringSubmatch(index), sumField.FindStringSubmatch(index)
			if file == nil || sum == nil {
				t.Fatalf("%s: %s lists\n%s", repository, dist, index)
			}
			paths[repository+" "+dist] = file[1]
			got := r.Get(repository, file[1])
			if h := sha256.Sum256(got); string(got) != deb || hex.EncodeToString(h[:]) != sum[1] {
				t.Errorf("%s: %s of %s is not what the index says", repository, file[1], dist)
			}
		}
	}
	below := func(path string, members ...string) string {
		for _, m := range members {
			path = "members/" + ids[m] + "/" + path
		}
		return path
	}
	for of, want := range map[string]string{
		"both stable": pool, "both noble": below(pool, "ubuntu"), "outer stable": below(pool, "debian"), "outer noble": below(pool, "ubuntu"),
		"cache noble": below(pool, "ubuntu"), "far stable": pool, "far noble": below(pool, "ubuntu", "cache"), "farther noble": below(pool, "ubuntu", "cache"),
	} {
		if paths[of] != want {
			t.Errorf("%s: %s, want %s", of, paths[of], want)
		}
	}
	if _, err := r.Registry.RenameRepository(t.Context(), "ubuntu", "noble"); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Get("both", paths["both noble"])); got != debs["noble"] {
		t.Error("what was named before the member was renamed is not there")
	}
	if _, err := r.Registry.RenameRepository(t.Context(), "noble", "ubuntu"); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Get("both", pool)); got != debs["stable"] {
		t.Error("the path that both have is not the first member's")
	}
	// What is no member, no file, or no reading, is nothing special.
	for _, path := range []string{below(pool, "empty"), below("dists/noble/InRelease", "ubuntu"), below("", "ubuntu"), "members/ubuntu/" + pool, "members/"} {
		r.Refused(formats.ErrNotFound, "both", "GET", path, nil)
	}
	r.Refused(formats.ErrNotFound, "ubuntu", "GET", below(pool, "ubuntu"), nil)
	r.Refused(formats.ErrNotFound, "both", "DELETE", below(pool, "ubuntu"), nil)
	h, err := r.Service.Open(t.Context(), "both", func(_ formats.Verb, repository string) bool { return repository != "ubuntu" })
	if err != nil {
		t.Fatal(err)
	}
	op, ok := h.Route(formats.Req{Method: "GET", Path: below(pool, "ubuntu")})
	if _, err := h.Read(t.Context(), op, repo.ReadOptions{}); !ok || err == nil {
		t.Error("a file of a member that the caller may not read")
	}
	if got := r.Get("ubuntu", pool); !bytes.Equal(got, []byte(debs["noble"])) {
		t.Error("the member's own is another")
	}
}

// A caller who may not read the first member, which is in a group of its own, is
// shown paths of his own; that does not become what others are shown.
func TestGroupOfTwoPoolsByRights(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"debian", "ubuntu"} {
		r.Create(name, config.Hosted, "apt", nil)
	}
	r.Put("debian", "pool/stable/main/upload", []byte(debOf(t, ".gz", control("zlib1g", "1.0", "amd64"), "debian")))
	r.Put("ubuntu", "pool/noble/main/upload", []byte(debOf(t, ".gz", control("zlib1g", "1.0", "amd64"), "ubuntu")))
	r.Group("inner", "apt", "debian")
	r.Group("outer", "apt", "inner", "ubuntu")
	h, err := r.Service.Open(t.Context(), "outer", func(_ formats.Verb, repository string) bool { return repository != "debian" })
	if err != nil {
		t.Fatal(err)
	}
	const index = "dists/noble/main/binary-amd64/Packages"
	op, _ := h.Route(formats.Req{Method: "GET", Path: index})
	if _, err := h.Read(t.Context(), op, repo.ReadOptions{}); err != nil { // rendered for him
		t.Fatal(err)
	}
	if got := string(r.Get("outer", index)); !strings.Contains(got, "\nFilename: members/") {
		t.Errorf("who may read both is shown\n%s", got)
	}
}

func TestRelocate(t *testing.T) {
	for _, x := range []struct{ name, stanza, want, path string }{
		{
			"main/amd64/a/:1", "Package: a\nfilename:  ./pool/a.deb\nDescription: x\n Filename: y\n",
			"Package: a\nfilename: members/m/pool/a.deb\nDescription: x\n Filename: y\n", "members/m/pool/a.deb",
		},
		{
			"main/source/a/:1", "Package: a\nDirectory: pool/a\nFiles:\n 1 2 a.dsc\n",
			"Package: a\nDirectory: members/m/pool/a\nFiles:\n 1 2 a.dsc\n", "members/m/pool/a.deb",
		},
		{"main/amd64/a/:1,000", "Filename: packed\n", "Filename: packed\n", "pool/a.deb"},
		{"main/amd64/:section", "", "", "pool/a.deb"},
	} {
		got := format().Relocate(formats.Record{Name: x.name, Path: "pool/a.deb", Meta: []byte(x.stanza)}, "members/m")
		if string(got.Meta) != x.want || got.Path != x.path {
			t.Errorf("%s: %q at %s, want %q at %s", x.name, got.Meta, got.Path, x.want, x.path)
		}
	}
}

// A source package of which only packages of all architectures are built is listed
// by a group although its upstream has an index for those packages.
func TestSourcesOfAllInAGroup(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"origin", "own"} {
		r.Create(name, config.Hosted, "apt", nil)
	}
	r.Put("origin", "pool/stable/main/upload", []byte(debOf(t, ".gz", control("hello", "1.0", "all"), "x")))
	h, b := formattest.Form(t, formattest.Part{Name: "distribution", Content: "stable"},
		formattest.Part{Name: "file", File: "thing_1.0.dsc", Content: "Format: 3.0 (native)\nSource: thing\nBinary: thing\nArchitecture: all\nVersion: 1.0\n" +
			"Maintainer: A <a@example.com>\nChecksums-Sha256:\n 5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5 5 thing_1.0.tar.xz\n" +
			"Files:\n 827ccb0eea8a706c4c34a16891f84e7b 5 thing_1.0.tar.xz\n"},
		formattest.Part{Name: "file", File: "thing_1.0.tar.xz", Content: "12345"})
	if _, _, err := r.Send(t.Context(), "origin", "POST", "upload", b, "Content-Type", h.Get("Content-Type")); err != nil {
		t.Fatal(err)
	}
	id := r.Cache("cache", "apt", r.Serve(t).URL+"/origin", 60).ID
	r.Group("all", "apt", "own", "cache")
	sources := string(r.Get("all", "dists/stable/main/source/Sources"))
	if !strings.Contains(sources, "Package: thing\n") || !strings.Contains(sources, "\nDirectory: members/"+id+"/pool/main/t/thing\n") {
		t.Fatalf("Sources of the group:\n%s", sources)
	}
	if got := r.Get("all", "members/"+id+"/pool/main/t/thing/thing_1.0.tar.xz"); string(got) != "12345" {
		t.Errorf("the tarball is %q", got)
	}
	if all := string(r.Get("all", "dists/stable/main/binary-all/Packages")); strings.Count(all, "Package: hello\n") != 1 {
		t.Errorf("packages of all architectures:\n%s", all)
	}
}
