package integration_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// noise is a field of 66 kB that compresses to half of it.
func noise() string {
	var text strings.Builder
	text.WriteString("X-Noise:")
	for range 1000 {
		fmt.Fprintf(&text, "\n %016x%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()) //nolint:gosec // no secret
	}
	return text.String() + "\n"
}

// Indexes that are compressed in several pieces are read by apt in each form.
func TestAptPieces(t *testing.T) {
	c := newApt(t)
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	var files []string
	for i := range 6 {
		files = append(files, debPackage(t, fmt.Sprintf("noisy%d", i), "1.0", "amd64", noise()))
	}
	c.upload(n, "debs", "stable", files...)
	c.setUp(n, "debs", "stable")
	c.apt("update")
	if out := c.run(c.root, "apt-cache", append(c.options(), "pkgnames")...); len(strings.Fields(out)) != len(files) {
		t.Errorf("apt knows %q", out)
	}
	// apt's own reader, whichever form apt-get prefers here.
	index := n.URL + "/repository/debs/dists/stable/main/binary-amd64/Packages"
	want := c.run("", "curl", "-fsS", "-u", "admin:"+node.Password, index)
	for _, form := range []string{".xz", ".gz"} {
		file := filepath.Join(c.root, "Packages"+form)
		c.run("", "curl", "-fsSo", file, "-u", "admin:"+node.Password, index+form)
		if got := c.run("", "/usr/lib/apt/apt-helper", "cat-file", file); got != want {
			t.Errorf("%s: apt reads %d bytes, want %d", form, len(got), len(want))
		}
	}
}
