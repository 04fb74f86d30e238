package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// from sets a client up for a repository with a key that is not granary's.
func (c *aptClient) from(a *archive, n *node.Node, repository, suite string) {
	c.t.Helper()
	c.write("etc/apt/keyrings/archive.asc", a.public())
	c.write("etc/apt/sources.list", fmt.Sprintf("deb [signed-by=%s/etc/apt/keyrings/archive.asc] %s/repository/%s %s\n", c.root, n.URL, repository, suite))
	c.write("etc/apt/auth.conf", fmt.Sprintf("machine %s\nlogin admin\npassword %s\n", n.URL, node.Password))
}

// A cache passes on everything that an archive lists, under its name and under
// its digest, with translations, application data and command lists, and apt
// updates by differences from one generation to the next.
func TestAptForeign(t *testing.T) {
	c := newApt(t)
	a, n := newArchive(t), node.Start(t, node.Options{})
	a.mirror(n)
	const main, packages = "dists/stable/main/", "dists/stable/main/binary-amd64/Packages"
	var debs []string
	for i := range 12 {
		debs = append(debs, debPackage(t, fmt.Sprintf("part%02d", i), "1.0", "amd64"))
	}
	debs = append(debs, debPackage(t, "hello", "1.0", "amd64"))
	first := a.add("pool", debs...)
	for name, data := range map[string][]byte{
		packages: first, packages + ".gz": gzipped(t, first), main + "binary-amd64/Release": []byte("Archive: stable\n"), main + "Contents-amd64.gz": gzipped(t, []byte("a b\n")),
		main + "i18n/Translation-en":                       []byte("Package: hello\nDescription-md5: d41d8cd98f00b204e9800998ecf8427e\nDescription-en: a test\n a long story\n\n"),
		main + "dep11/Components-amd64.yml.gz":             gzipped(t, []byte("---\nFile: DEP-11\n")),
		main + "dep11/icons-64x64.tar.gz":                  gzipped(t, []byte("icons")),
		main + "cnf/Commands-amd64":                        []byte("suite: stable\n"),
		main + "source/Sources.gz":                         gzipped(t, nil),
		main + "debian-installer/binary-amd64/Packages.gz": gzipped(t, nil),
	} {
		a.write(name, data)
	}
	for name, sum := range a.publish("dists/stable", time.Now().Add(-time.Hour), "") {
		want := mustRead(t, filepath.Join(a.root, "dists/stable", name))
		for _, at := range []string{name, path.Dir(name) + "/by-hash/SHA256/" + sum} {
			if got := n.Want(200, "GET", "/repository/mirror/dists/stable/"+at, nil); !bytes.Equal(got, want) {
				t.Errorf("%s is not what the archive has", at)
			}
		}
	}
	for _, name := range []string{"InRelease", "Release", "Release.gpg"} {
		if got := n.Want(200, "GET", "/repository/mirror/dists/stable/"+name, nil); !bytes.Equal(got, mustRead(t, filepath.Join(a.root, "dists/stable", name))) {
			t.Errorf("%s is not what the archive has", name)
		}
	}
	n.Want(404, "GET", "/repository/mirror/distributions", nil)
	c.from(a, n, "mirror", "stable main")
	if out := c.apt("update", "-o", "Acquire::Languages=en"); !strings.Contains(out, "Translation-en") {
		t.Errorf("apt has no translation:\n%s", out)
	}

	// The next generation, and how to get there.
	second := a.add("pool", debPackage(t, "later", "1.0", "amd64"))
	patch := difference(t, first, second)
	line := func(b []byte, name string) string { return fmt.Sprintf(" %x %d %s\n", sha256.Sum256(b), len(b), name) }
	const step = "2026-11-26-0100.00"
	a.write(packages, second)
	a.write(packages+".gz", gzipped(t, second))
	a.write(packages+".diff/"+step+".gz", gzipped(t, patch))
	a.write(packages+".diff/Index", fmt.Appendf(nil, "SHA256-Current: %x %d\nSHA256-History:\n%sSHA256-Patches:\n%sSHA256-Download:\n%s",
		sha256.Sum256(second), len(second), line(first, step), line(patch, step), line(gzipped(t, patch), step+".gz")))
	a.publish("dists/stable", time.Now().Add(-time.Minute), "")
	c.apt("update")
	if got := c.knows(); !strings.HasPrefix(got, "hello later part00") {
		t.Errorf("apt knows %q after the update by differences", got)
	}
	if !a.asked(packages + ".diff/" + step + ".gz") {
		t.Error("apt did without the difference")
	}
	c.apt("install", "-y", "later")
}

// difference is how an index becomes another, as "diff --ed" says it.
func difference(t *testing.T, from, to []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{"from": from, "to": to} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "diff", "--ed", "from", "to")
	cmd.Dir = dir
	out, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 { // they differ
		t.Fatalf("diff: %v", err)
	}
	return out
}

// A repository without dists/ comes through a cache: its index and its packages
// lie in one directory.
func TestAptFlat(t *testing.T) {
	c := newApt(t)
	a, n := newArchive(t), node.Start(t, node.Options{})
	a.mirror(n)
	// dpkg-scanpackages names files from where it is called, and here that is the
	// directory itself.
	index := a.add("cuda/x86", debPackage(t, "flat", "1.0", "all"), debPackage(t, "other", "1.0", "amd64"))
	index = bytes.ReplaceAll(index, []byte("Filename: cuda/x86/"), []byte("Filename: ./"))
	a.write("cuda/x86/Packages", index)
	a.write("cuda/x86/Packages.gz", gzipped(t, index))
	a.publish("cuda/x86", time.Now().Add(-time.Hour), "")
	c.from(a, n, "mirror/cuda/x86", "./")
	c.apt("update")
	c.apt("install", "-y", "flat", "other")
	a.Close()
	again := newApt(t)
	again.from(a, n, "mirror/cuda/x86", "./")
	again.apt("update")
	again.apt("install", "-y", "flat")
	if got := c.installed("flat") + " " + c.installed("other") + " " + again.installed("flat"); got != "1.0 1.0 1.0" {
		t.Errorf("installed %s", got)
	}
}

// What the keys of an upstream have not signed, what has expired and what is
// dated into the future does not come through a cache that knows the keys, and
// comes through one that is told to pass it on: then apt judges.
func TestAptUpstreamSignatures(t *testing.T) {
	a, stranger, n := newArchive(t), newArchive(t), node.Start(t, node.Options{})
	index := a.add("pool", debPackage(t, "hello", "1.0", "amd64"))
	a.write("dists/stable/main/binary-amd64/Packages", index)
	now := time.Now()
	for i, tt := range []struct {
		name          string
		key           *archive
		date          time.Time
		more          string
		kept, passing string // what apt says of a cache that verifies, and of one that passes on; "" is nothing
	}{
		{"good", a, now.Add(-time.Hour), validUntil(now.Add(time.Hour)), "", ""},
		{"another key", stranger, now.Add(-time.Hour), "", "502", ""},
		{"expired", a, now.Add(-48 * time.Hour), validUntil(now.Add(-24 * time.Hour)), "502", "expired"},
		{"of the future", a, now.Add(24 * time.Hour), "", "502", "not valid yet"},
	} {
		keys, err := json.Marshal(tt.key.public())
		if err != nil {
			t.Fatal(err)
		}
		a.publish("dists/stable", tt.date, tt.more)
		for name, want := range map[string]string{"keeps": tt.kept, "passes": tt.passing} {
			repository := fmt.Sprintf("%s%d", name, i)
			aptRepository(n, repository, "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_keys":%s,"upstream_unsigned":%t`, a.URL, keys, name == "passes"))
			c := newApt(t)
			c.from(a, n, repository, "stable main")
			out, err := c.try(c.root, "apt-get", append(c.options(), "update", "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Check-Valid-Until=true", "-o", "Acquire::Check-Date=true")...)
			if (err == nil) != (want == "") || !strings.Contains(out, want) {
				t.Errorf("%s, %s: %v, want %q in\n%s", tt.name, name, err, want, out)
			}
			if got := c.knows(); (got == "hello") != (want == "") {
				t.Errorf("%s, %s: apt knows %q", tt.name, name, got)
			}
		}
	}
}

// A distribution that apt is not to upgrade to by itself is none in a group
// either, although its Release is another.
func TestAptNotAutomatic(t *testing.T) {
	c := newApt(t)
	a, n := newArchive(t), node.Start(t, node.Options{})
	a.write("dists/stable/main/binary-amd64/Packages", a.add("pool", debPackage(t, "hello", "2.0", "amd64")))
	a.publish("dists/stable", time.Now().Add(-time.Hour), "NotAutomatic: yes\nButAutomaticUpgrades: yes\n")
	aptRepository(n, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q`, a.URL))
	aptRepository(n, "own", "hosted", "")
	aptRepository(n, "all", "proxy", `,"members":["own","mirror"]`)
	c.upload(n, "own", "stable", debPackage(t, "other", "1.0", "amd64"))
	c.setUp(n, "all", "stable")
	c.apt("update")
	if out := c.run(c.root, "apt-cache", append(c.options(), "policy", "hello")...); !strings.Contains(out, " 100 "+n.URL+"/repository/all") {
		t.Errorf("apt takes backports for what it is to upgrade to:\n%s", out)
	}
	c.apt("install", "-y", "hello", "other")
}

// Another program's reader: reprepro verifies, mirrors and follows a hosted
// repository, with its source packages.
func TestAptReprepro(t *testing.T) {
	c := newApt(t)
	for _, program := range []string{"reprepro", "gpg"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	everybodyReads(n)
	c.upload(n, "debs", "stable", debPackage(t, "hello", "1.0", "amd64"), debPackage(t, "hello-data", "1.0", "all"))
	c.setUp(n, "debs", "stable")
	c.sources(n)
	home := filepath.Join(c.root, "gnupg")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	var keys []struct{ Fingerprint string }
	if err := json.Unmarshal(n.Want(200, "GET", "/api/v1/repositories/debs/signing-keys", nil), &keys); err != nil || len(keys) != 1 {
		t.Fatalf("keys %+v, %v", keys, err)
	}
	id := strings.ToUpper(keys[0].Fingerprint)
	c.write("public.key", string(n.Want(200, "GET", "/repository/debs/public.key", nil)))
	c.run("", "gpg", "--homedir", home, "--batch", "--import", filepath.Join(c.root, "public.key"))
	c.write("mirror/conf/distributions", "Codename: stable\nArchitectures: amd64 source\nComponents: main\nUpdate: granary\n")
	c.write("mirror/conf/updates", fmt.Sprintf("Name: granary\nMethod: %s/repository/debs\nSuite: stable\nArchitectures: amd64 source\nComponents: main\nVerifyRelease: %s\n", n.URL, id[len(id)-16:]))
	mirrored := func() string {
		t.Helper()
		base := filepath.Join(c.root, "mirror")
		c.run("", "env", "GNUPGHOME="+home, "reprepro", "-b", base, "update")
		lines := strings.Split(strings.TrimSpace(c.run("", "env", "GNUPGHOME="+home, "reprepro", "-b", base, "list", "stable")), "\n")
		slices.Sort(lines)
		return strings.Join(lines, ", ")
	}
	if got, want := mirrored(), "stable|main|amd64: hello 1.0, stable|main|amd64: hello-data 1.0, stable|main|source: thing 1.0"; got != want {
		t.Errorf("reprepro has %s, want %s", got, want)
	}
	c.upload(n, "debs", "stable", debPackage(t, "hello", "1.1", "amd64"))
	n.Want(204, "DELETE", "/repository/debs/pool/main/h/hello-data/hello-data_1.0_all.deb", nil)
	if got, want := mirrored(), "stable|main|amd64: hello 1.1, stable|main|amd64: hello-data 1.0, stable|main|source: thing 1.0"; got != want {
		t.Errorf("then reprepro has %s, want %s", got, want) // it keeps what its upstream drops
	}
	c.write("mirror/conf/updates", strings.Replace(string(mustRead(t, filepath.Join(c.root, "mirror/conf/updates"))), id[len(id)-16:], "0123456789ABCDEF", 1))
	if out, err := c.try("", "env", "GNUPGHOME="+home, "reprepro", "-b", filepath.Join(c.root, "mirror"), "update"); err == nil {
		t.Errorf("reprepro trusts any key:\n%s", out)
	}
}
