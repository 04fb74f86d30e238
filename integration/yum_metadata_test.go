package integration_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"granary/integration/node"
)

// publishedExtras are what the metadata has beside packages.
var publishedExtras = map[string]string{
	"comps.xml": `<comps><group><id>tools</id><name>Tools</name><description/><default>false</default><uservisible>true</uservisible>
<packagelist><packagereq type="mandatory">hello</packagereq></packagelist></group></comps>`,
	"updateinfo.xml": `<updates><update type="security" from="a@example.com" status="final" version="1"><id>EX-2026:1</id><title>hello</title>
<issued date="2026-11-22 10:00:00"/><severity>Important</severity><summary>s</summary><description>d</description><references/>
<pkglist><collection short="x"><name>x</name><package name="hello" version="1.1" release="1" epoch="0" arch="noarch" src="hello-1.1-1.src.rpm"><filename>hello-1.1-1.noarch.rpm</filename></package></collection></pkglist></update></updates>`,
	"modules.yaml": "---\ndocument: modulemd\nversion: 2\ndata:\n  name: thing\n  stream: \"1.0\"\n  version: 1\n  context: abcdef\n  arch: x86_64\n  summary: A thing\n  description: Of a thing\n" +
		"  license:\n    module: [MIT]\n  profiles:\n    default:\n      rpms: [hello]\n  artifacts:\n    rpms: [\"hello-0:1.0-1.noarch\"]\n...\n",
}

// Groups, modules and advisories are merged by a group and understood by dnf;
// createrepo_c reads the metadata and says of the packages what it would itself.
func TestYumMetadata(t *testing.T) {
	c := newDnf(t)
	n := node.Start(t, node.Options{})
	yumRepository(n, "rpms", "hosted", `,"repodata_depth":2,"yum_sqlite":true`)
	yumRepository(n, "more", "hosted", `,"repodata_depth":2`)
	yumRepository(n, "all", "proxy", `,"members":["more","rpms"]`)
	rich := []string{
		"Epoch: 3", "URL: https://example.com/?a&b", "Requires: /bin/sh, (bash if dash)", "Requires(post): coreutils >= 1:8", "Conflicts: old < 2",
		"Obsoletes: older <= 1.5", "Recommends: extra", "Suggests: maybe", "Supplements: with", "Enhances: best = 2-1", "Provides: virtual = 7",
	}
	files := []string{rpmPackage(t, "hello", "1.0"), rpmPackage(t, "hello", "1.1"), rpmPackage(t, "rich", "2.0~rc1", rich...)}
	files = append(files, sourceOf(files[2]))
	c.upload(n, "rpms", "el9/x86_64/Packages/", files...)
	for name, text := range publishedExtras {
		c.write(name, text)
		n.Want(201, "PUT", "/repository/rpms/el9/x86_64/"+name, strings.NewReader(text))
	}
	n.Want(201, "PUT", "/repository/more/el9/x86_64/updateinfo.xml", strings.NewReader(strings.ReplaceAll(publishedExtras["updateinfo.xml"], "EX-2026:1", "EX-2026:2")))

	c.setUp(n, "all/el9/x86_64")
	c.dnf("makecache")
	for command, want := range map[string]string{
		"module list":         "thing",
		"group list --hidden": "Tools",
		// Of two members; the other version is in a module that is not enabled.
		"repoquery --advisory EX-2026:1": "hello-0:1.1-1.noarch",
		"repoquery --advisory EX-2026:2": "hello-0:1.1-1.noarch",
		"repoquery --srpm rich":          "rich-3:2.0~rc1-1.src",
		"provides virtual":               "rich-3:2.0~rc1-1.noarch",
		"repoquery --recommends rich":    "extra",
	} {
		if out := c.dnf(strings.Fields(command)...); !strings.Contains(out, want) {
			t.Errorf("dnf %s: %s", command, out)
		}
	}
	if out := c.dnf("repoquery", "--qf", "%{name}-%{evr}"); !strings.Contains(out, "rich-3:2.0~rc1-1") {
		t.Errorf("dnf repoquery: %s", out)
	}

	// It lists advisories about what is installed.
	c.dnf("install", "hello")
	for _, id := range []string{"EX-2026:1", "EX-2026:2"} {
		if out := c.dnf("updateinfo", "list", "--all"); !strings.Contains(out, id) || !strings.Contains(out, "Important/Sec. hello-1.1-1.noarch") {
			t.Errorf("dnf updateinfo list lacks %s: %s", id, out)
		}
	}

	// A mirror of the repository, as createrepo_c sees it, and its own metadata
	// of the same packages.
	served := c.metadataOf(n, "rpms/el9/x86_64")
	own := filepath.Join(c.root, "own")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c.write("own/Packages/"+filepath.Base(f), string(b))
	}
	c.run("createrepo_c", "--no-database", "--changelog-limit=100", own)
	// createrepo_c's parser loads the metadata of both and writes it anew.
	for _, dir := range []string{served, own} {
		c.run("mergerepo_c", "--all", "--no-database", "--omit-baseurl", "--repo", "file://"+dir, "--outputdir", dir+"-read")
	}
	for _, kind := range []string{"primary", "filelists", "other"} {
		got, want := c.elements(served+"-read", kind), c.elements(own+"-read", kind)
		if len(got) != 4 || !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\ncreaterepo_c has\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if out := c.run("sh", "-c", "zcat "+served+"/repodata/*-primary.sqlite.gz >p.db && sqlite3 p.db 'SELECT name FROM packages ORDER BY pkgKey' && sqlite3 p.db 'PRAGMA integrity_check'"); out != "hello\nhello\nrich\nrich\nok\n" {
		t.Errorf("the database: %s", out)
	}
}

// metadataOf fetches the metadata of a root into a directory of the client's.
func (c *dnfClient) metadataOf(n *node.Node, root string) string {
	c.t.Helper()
	dir, url := filepath.Join("served", root), "/repository/"+root+"/repodata/"
	entry := string(n.Want(200, "GET", url+"repomd.xml", nil))
	c.write(filepath.Join(dir, "repodata/repomd.xml"), entry)
	for _, m := range regexp.MustCompile(`href="repodata/([^"]+)"`).FindAllStringSubmatch(entry, -1) {
		c.write(filepath.Join(dir, "repodata", m[1]), string(n.Want(200, "GET", url+m[1], nil)))
	}
	return filepath.Join(c.root, dir)
}

// elements are the packages of a document that createrepo_c wrote, a text of
// lines each. Times of files are left out: ours are those of the build.
func (c *dnfClient) elements(dir, kind string) []string {
	c.t.Helper()
	text := c.run("sh", "-c", "zcat "+filepath.Join(dir, "repodata")+"/*-"+kind+".xml.gz")
	var doc struct {
		Packages []struct {
			Inner string `xml:",innerxml"`
			ID    string `xml:"pkgid,attr"`
		} `xml:"package"`
	}
	if err := xml.Unmarshal([]byte(text), &doc); err != nil {
		c.t.Fatalf("%s: %v", kind, err)
	}
	changed := regexp.MustCompile(`<time file="\d+"`)
	var out []string
	for _, p := range doc.Packages {
		lines := []string{p.ID}
		for line := range strings.Lines(p.Inner) {
			if line = changed.ReplaceAllString(strings.TrimSpace(line), "<time"); line != "" {
				lines = append(lines, line)
			}
		}
		out = append(out, strings.Join(lines, "\n"))
	}
	slices.Sort(out)
	return out
}
