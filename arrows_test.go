// Package granary_test holds what is asserted of the tree as a whole.
package granary_test

import (
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// arrows lists for each part of the tree which others it may import; a part is
// a first folder, or one of the deeper ones named here. docs/architecture.md
// draws the same picture.
var arrows = map[string][]string{
	"digest":             {},
	"kv":                 {},
	"kv/mem":             {"kv"},
	"kv/chaos":           {"kv"},
	"kv/retry":           {"kv"},
	"kv/count":           {"kv"},
	"kv/meter":           {"kv"},
	"kv/kvtest":          {"kv"},
	"kv/pebble":          {"kv"},
	"kv/dynamo":          {"kv", "kv/retry"},
	"blob":               {"digest"},
	"blob/mem":           {"blob"},
	"blob/chaos":         {"blob"},
	"blob/check":         {"blob"},
	"blob/meter":         {"blob"},
	"blob/blobtest":      {"blob", "blob/check", "digest"},
	"blob/fs":            {"blob"},
	"blob/s3":            {"blob", "blob/check"},
	"formats":            {"digest"},
	"formats/*":          {"formats", "formats/archive", "digest"},
	"formats/all":        {"formats", "formats/*"},
	"cluster":            {"kv"},
	"events":             {},
	"webhook":            {"events", "repo", "digest", "kv"},
	"auth":               {"kv"},
	"audit":              {"kv"},
	"repo":               {"repo", "formats", "digest", "blob", "kv", "cluster"},
	"repo/repotest":      {"*"},
	"gc":                 {"gc", "repo", "formats", "digest", "blob", "kv", "cluster"},
	"gc/retention":       {"repo", "formats", "kv", "cluster"},
	"gc/explain":         {"gc", "repo", "formats", "digest", "blob", "kv"},
	"telemetry":          {},
	"httpapi":            {"httpapi", "audit", "repo", "auth", "events", "webhook", "telemetry", "formats", "digest", "blob", "blob/check", "kv", "cluster", "gc/retention", "gc/explain"},
	"client":             {},
	"cmd":                {"*"},
	"integration":        {"*"},
	"formats/formattest": {"*"},
}

// part returns the most precise name in arrows for a package, "" for the root.
func part(pkg string) string {
	pkg = strings.TrimPrefix(strings.TrimPrefix(pkg, "granary"), "/")
	for p := pkg; p != "." && p != ""; p = path.Dir(p) {
		if _, ok := arrows[p]; ok {
			return p
		}
		if _, ok := arrows[path.Dir(p)+"/*"]; ok && p == pkg {
			return path.Dir(p) + "/*"
		}
	}
	return pkg
}

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("list the packages: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := part(words[0])
		if words[0] == "granary" {
			continue
		}
		allowed, ok := arrows[from]
		if !ok {
			t.Errorf("%s is in no part that arrows names", words[0])
			continue
		}
		for _, imported := range words[1:] {
			if !strings.HasPrefix(imported, "granary/") {
				if sdk(imported) && from != "kv/dynamo" && from != "blob/s3" {
					t.Errorf("%s imports %s: SDKs belong into kv/dynamo and blob/s3", words[0], imported)
				}
				continue
			}
			if to := part(imported); to != from && !slices.Contains(allowed, to) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s: %s may import %q only", words[0], imported, from, allowed)
			}
		}
	}
}

func sdk(pkg string) bool { return strings.HasPrefix(pkg, "github.com/aws/") }

// Folders that say nothing of what is in them.
func TestFolderNames(t *testing.T) {
	out, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		t.Fatalf("list the packages: %v", err)
	}
	for pkg := range strings.Lines(string(out)) {
		name := path.Base(strings.TrimSpace(pkg))
		if slices.Contains([]string{"util", "utils", "common", "helpers", "types", "misc", "shared"}, name) {
			t.Errorf("%s: the name says nothing", pkg)
		}
	}
	if _, err := os.Stat("pkg"); err == nil {
		t.Error("there is a folder pkg")
	}
}
