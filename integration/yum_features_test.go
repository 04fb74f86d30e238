package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"granary/integration/node"
)

// featureSpec is a package with whatever rpmbuild can put into one, a part of it,
// and one without files. Its release is to be filled in.
const featureSpec = `Name: feat
Epoch: 3
Version: 1.0~rc1^git2
Release: %s
Summary: Features & <more> "quoted"
Summary(de): Merkmale
License: MIT and GPLv2+
URL: https://example.com/?a=1&b=2
Vendor: Ex & Co <x@example.com>
Packager: Pöckager <p@example.com>
Group: Development/Tools
BuildArch: noarch
Source0: a.txt
BuildRequires: /bin/sh
Requires: plain
Requires: plain
Requires: versioned >= 2:1.0-3
Requires: versioned < 3
Requires: onlyepoch = 4:5
Requires(pre): preone
Requires(post): postone >= 1
Requires(preun): preunone
Requires(postun): postunone
Requires(pretrans): pretr
Requires(meta): metaone
Requires: (a or b or c)
Requires: ((x >= 1 with x < 2) if y else z)
Conflicts: (foo unless bar)
Requires: /usr/bin/featbin
Requires: /usr/share/feat/data
Requires: /bin/outside
OrderWithRequires: order
Recommends: rec >= 1
Recommends: (langpack if lang)
Suggests: sug
Supplements: (feat and hw)
Supplements: sup = 1:1
Enhances: enh > 3
Provides: virt
Provides: virt
Provides: virt = 1
Provides: virt(a:b) = 2:3-4
Provides: /virtual/path
Provides: bundled(x) = 1.2.3
Conflicts: conf <= 1:2
Conflicts: conf2
Obsoletes: obs < 4:5-6
Obsoletes: obs2 = 1
%%description
Line one <tag> & "quotes" ünï – ☃

  indented	tab
%%description -l de
Deutsch
%%package sub
Summary: sub
Requires: feat = %%{epoch}:%%{version}-%%{release}
%%description sub
x
%%package empty
Summary: without files
%%description empty
%%install
mkdir -p %%{buildroot}/usr/bin %%{buildroot}/etc/feat.d %%{buildroot}/usr/share/feat %%{buildroot}/usr/lib %%{buildroot}/opt/bin/x
for f in usr/bin/featbin etc/feat.conf etc/feat.d/x usr/share/feat/data usr/share/feat/sub usr/lib/sendmail opt/bin/x/y; do echo 1 >%%{buildroot}/$f; done
chmod 755 %%{buildroot}/usr/bin/featbin
ln -s featbin %%{buildroot}/usr/bin/featlink
echo 1 >"%%{buildroot}/usr/share/feat/with space & <amp> \"q\" 'a'"
echo 1 >"%%{buildroot}/usr/share/feat/ünï☃"
%%files
%%dir /etc/feat.d
%%config(noreplace) /etc/feat.conf
/etc/feat.d/x
/usr/bin/*
%%caps(cap_net_raw=p) /opt/bin/x/y
%%dir /usr/share/feat
%%doc /usr/share/feat/data
/usr/share/feat/with*
/usr/share/feat/ün*
/usr/lib/sendmail
%%ghost /var/log/feat.log
%%ghost %%dir /var/lib/featghost
%%ghost /etc/feat.ghost
%%files sub
/usr/share/feat/sub
%%files empty
%%pre
true
%%post -p <lua>
print("x")
%%triggerin -- other > 1
true
%%filetriggerin -- /usr/lib
true
%%transfiletriggerin -- /usr/share
true
%%verifyscript
true
%%changelog
* Sun Nov 22 2026 Ä B <a@example.com> - 3:1.0-2
- Newest & <x>
- two	tab
* Sun Nov 22 2026 Other <o@example.com> - 1.0-1
- same day
* Sun Nov 22 2026 Third <o@example.com> - 1.0-1
- same day again
* Sat Nov 21 2026 A <a@example.com>
- First.

  para
`

// featurePackages builds the packages of featureSpec, and their sources, with
// each kind of payload and of digests of files.
func featurePackages(t *testing.T) (files []string) {
	t.Helper()
	top := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("SOURCES/a.txt", "x\n")
	// OpenPGP's numbers: SHA-256, SHA-512, SHA-1, MD5.
	for i, kind := range []struct{ payload, digest string }{{"w9.gzdio", "8"}, {"w2.xzdio", "10"}, {"w3.zstdio", "2"}, {"w9.bzdio", "1"}} {
		spec := write("feat.spec", fmt.Sprintf(featureSpec, fmt.Sprintf("%d.el9", i+1)))
		args := []string{"-ba", "--nodeps", "--define", "_topdir " + top}
		for _, of := range []string{"_binary", "_source"} {
			args = append(args, "--define", of+"_payload "+kind.payload, "--define", of+"_filedigest_algorithm "+kind.digest)
		}
		cmd := exec.CommandContext(t.Context(), "rpmbuild", append(args, spec)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+top)
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("rpmbuild with %s: %v\n%s", kind.payload, err, b)
		}
	}
	for _, pattern := range []string{"RPMS/*/*.rpm", "SRPMS/*.rpm"} {
		found, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) != 16 {
		t.Fatalf("built %d packages", len(files))
	}
	return files
}

// What we say of packages that have everything is what createrepo_c says, in its
// order; its parser reads both, and SQLite's tables are the same.
func TestYumFeatures(t *testing.T) {
	c := newDnf(t)
	n := node.Start(t, node.Options{})
	yumRepository(n, "rpms", "hosted", `,"yum_sqlite":true`)
	yumRepository(n, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, n.URL+"/repository/rpms", node.Password))
	yumRepository(n, "all", "proxy", `,"members":["mirror"],"claim_names":false`)
	files := featurePackages(t)
	c.upload(n, "rpms", "", files...)
	own := filepath.Join(c.root, "own")
	for _, f := range files {
		c.write("own/"+filepath.Base(f), string(mustRead(t, f)))
	}
	c.run("createrepo_c", "--database", "--changelog-limit=100", "--compress-type=gz", own)
	dirs := map[string]string{"createrepo_c": own, "rpms": c.metadataOf(n, "rpms"), "all": c.metadataOf(n, "all")}
	read := func(of, kind string) []string {
		out := dirs[of] + "-read"
		if _, err := os.Stat(out); err != nil {
			c.run("mergerepo_c", "--all", "--no-database", "--omit-baseurl", "--repo", "file://"+dirs[of], "--outputdir", out)
		}
		return c.elements(out, kind)
	}
	for _, kind := range []string{"primary", "filelists", "other"} {
		want := withoutRepeats(read("createrepo_c", kind))
		for _, of := range []string{"rpms", "all"} {
			if got := read(of, kind); len(got) != len(files) || !slices.Equal(got, want) {
				t.Errorf("%s of %s has %d packages and says otherwise (-) than createrepo_c (+):\n%s", kind, of, len(got), c.diff(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
		}
	}
	for kind, tables := range map[string]map[string]string{
		"primary": {
			"packages": "name, arch, version, epoch, release, summary, description, url, time_build, rpm_license, rpm_vendor, rpm_group, rpm_buildhost, " +
				"rpm_sourcerpm, rpm_header_start, rpm_header_end, rpm_packager, size_package, size_installed, size_archive, location_href, location_base, checksum_type",
			"files": "files.name, type", "provides": "x.name, flags, x.epoch, x.version, x.release", "requires": "x.name, flags, x.epoch, x.version, x.release, pre",
			"conflicts": "x.name, flags, x.epoch, x.version, x.release", "obsoletes": "x.name, flags, x.epoch, x.version, x.release",
			"recommends": "x.name, flags, x.epoch, x.version, x.release", "supplements": "x.name, flags, x.epoch, x.version, x.release",
		},
		"filelists": {"filelist": "dirname, filenames, filetypes"},
		"other":     {"changelog": "author, date, changelog"},
	} {
		for table, columns := range tables {
			from := table + " x JOIN packages p USING (pkgKey)"
			if table == "packages" {
				from = "packages p"
			}
			columns = strings.ReplaceAll(columns, "files.", "x.")
			query := fmt.Sprintf("SELECT DISTINCT p.pkgId, %s FROM %s", columns, from)
			rows := func(dir string) string {
				return c.run("sh", "-c", fmt.Sprintf("zcat %s/repodata/*-%s.sqlite.gz >p.db && sqlite3 p.db %q | sort", dir, kind, query))
			}
			if got, want := rows(dirs["rpms"]), rows(own); got != want || got == "" {
				t.Errorf("the table %s (-) is not that of createrepo_c (+):\n%s", table, c.diff(got, want))
			}
		}
	}
}

// withoutRepeats leaves out of packages' elements the requirements that createrepo_c
// repeats: it compares each with the last one of its name only.
func withoutRepeats(packages []string) []string {
	var out []string
	for _, p := range packages {
		var kept []string
		seen := map[string]bool{}
		for _, line := range strings.Split(p, "\n") {
			switch entry := strings.HasPrefix(line, "<rpm:entry "); {
			case entry && seen[line]:
				continue
			case entry:
				seen[line] = true
			default:
				clear(seen)
			}
			kept = append(kept, line)
		}
		out = append(out, strings.Join(kept, "\n"))
	}
	return out
}

// diff is what is different in two texts.
func (c *dnfClient) diff(a, b string) string {
	c.t.Helper()
	c.write("a", a)
	c.write("b", b)
	out, err := c.try("diff", "-u", "a", "b")
	if err == nil {
		return "nothing"
	}
	return out
}
