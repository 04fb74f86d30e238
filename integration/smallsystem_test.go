package integration_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// systemPrograms are what the packages of a small system have: what dpkg, its
// scripts, debootstrap and apt run.
var systemPrograms = map[string][]string{
	"dpkg": {"dpkg", "dpkg-deb", "dpkg-query", "dpkg-split", "dpkg-trigger", "start-stop-daemon", "tar", "diff"},
	"coreutils": {
		"cat", "chmod", "chown", "cp", "cut", "find", "grep", "id", "ln", "ls", "mkdir", "mktemp", "mv", "readlink", "rm", "sed", "sort", "touch", "true", "uname",
	},
	"dash":      {"sh"},
	"mawk":      {"mawk"},
	"perl-base": {"perl"},
	"apt":       {"apt-get", "apt-cache", "apt-config"},
}

// systemDirs are their empty directories.
var systemDirs = map[string][]string{
	"base-files": {"tmp", "root", "proc", "sys", "dev", "etc", "var/tmp", "var/log", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"},
	"dpkg":       {"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/alternatives", "var/lib/dpkg/parts", "var/lib/dpkg/triggers"},
	"apt": {
		"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d", "var/lib/apt/lists/partial",
		"var/cache/apt/archives/partial", "var/log/apt",
	},
}

// smallSystem packs programs of this machine, with the libraries that they need,
// into packages that are called as debootstrap expects it of Debian's. They are
// compressed in each of the ways that there are.
func smallSystem(t *testing.T) []string {
	t.Helper()
	ways := []string{"gzip", "zstd", "none", "xz"}
	var out, needed []string
	for i, name := range slices.Sorted(maps.Keys(systemPrograms)) {
		p := packing{t, t.TempDir()}
		list := systemPrograms[name]
		switch name {
		case "apt":
			list = append(slices.Clone(list), aptHelpers(t)...)
		case "dpkg":
			for _, table := range globbed(t, "/usr/share/dpkg/*table") {
				p.copy(table)
			}
		}
		for _, program := range list {
			path := found(t, program)
			p.copy(path)
			needed = append(needed, libraries(t, path)...)
		}
		if name == "mawk" {
			p.link("mawk", "usr/bin/awk")
		}
		out = append(out, p.build(name, "amd64", ways[i%len(ways)]))
	}
	libc := packing{t, t.TempDir()}
	slices.Sort(needed)
	for _, path := range append(slices.Compact(needed), found(t, "ldconfig")) {
		libc.copy(path)
	}
	base := packing{t, t.TempDir()}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		base.link("usr/"+dir, dir)
	}
	base.text("DEBIAN/postinst", "#!/bin/sh\nset -e\n[ \"$1\" = configure ]\necho \"$DPKG_MAINTSCRIPT_PACKAGE\" >/etc/configured\n", 0o755)
	users := packing{t, t.TempDir()}
	users.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/bin/false\n", 0o644)
	users.text("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
	return append(out, libc.build("libc6", "amd64", "gzip"), base.build("base-files", "all", "xz"), users.build("base-passwd", "all", "xz"))
}

// aptHelpers are the programs that apt fetches and verifies by, here.
func aptHelpers(t *testing.T) []string {
	t.Helper()
	helpers := globbed(t, "/usr/lib/apt/methods/*")
	for _, program := range []string{"apt-key", "gpgv", "sqv"} {
		if path, err := exec.LookPath(program); err == nil {
			helpers = append(helpers, path)
		}
	}
	return helpers
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: nothing is there, %v", pattern, err)
	}
	return list
}

// found is the path of a program, which may not be one of a user's.
func found(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	need(t, program)
	return ""
}

// library is a path in what ldd prints.
var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// libraries are what a program is linked to; none if it is a script.
func libraries(t *testing.T, path string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ldd", path).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not a dynamic executable") {
		t.Fatalf("ldd %s: %v\n%s", path, err, out)
	}
	var list []string
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		list = append(list, m[1])
	}
	return list
}

// packing is the tree of a package that is being made.
type packing struct {
	t    *testing.T
	root string
}

// place is where something belongs within the tree: below usr/, where the
// directories beside it are links.
func (p packing) place(path string) string {
	p.t.Helper()
	path = strings.TrimPrefix(path, "/")
	if top, _, _ := strings.Cut(path, "/"); strings.Contains(path, "/") && slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
		path = "usr/" + path
	}
	path = filepath.Join(p.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// copy takes a file of this machine, under the name that it was asked for by.
func (p packing) copy(path string) {
	p.t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(p.place(path), b, 0o755) //nolint:gosec // a program
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p packing) text(name, text string, mode os.FileMode) {
	p.t.Helper()
	if err := os.WriteFile(p.place(name), []byte(text), mode); err != nil {
		p.t.Fatal(err)
	}
}

func (p packing) link(to, name string) {
	p.t.Helper()
	if err := os.Symlink(to, p.place(name)); err != nil {
		p.t.Fatal(err)
	}
}

// build makes the package, which every system has to have.
func (p packing) build(name, arch, compression string) string {
	p.t.Helper()
	for _, dir := range systemDirs[name] {
		if err := os.MkdirAll(filepath.Join(p.root, dir), 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	p.text("DEBIAN/control", fmt.Sprintf("Package: %s\nVersion: 1.0\nArchitecture: %s\nMaintainer: A <a@example.com>\nPriority: required\nEssential: yes\nDescription: a test\n", name, arch), 0o644)
	out := filepath.Join(p.t.TempDir(), name+".deb")
	if b, err := exec.CommandContext(p.t.Context(), "dpkg-deb", "--root-owner-group", "-Z"+compression, "-z1", "--uniform-compression", "--build", p.root, out).CombinedOutput(); err != nil {
		p.t.Fatalf("dpkg-deb: %v\n%s", err, b)
	}
	return out
}
