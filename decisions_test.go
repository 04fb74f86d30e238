package granary_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// Each direct dependency is a decision, and each decision is in the list: a
// page below docs/decisions names the module as people write it, without the
// host of its code.
func TestDecisions(t *testing.T) {
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/decisions/0*.md")
	if err != nil || len(pages) < 30 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	list, err := os.ReadFile("docs/decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, page := range pages {
		if !strings.Contains(string(list), "("+filepath.Base(page)+")") {
			t.Errorf("%s is not in the list", page)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, r := range mod.Require {
		parts := strings.Split(r.Mod.Path, "/") // host, owner, repository, …
		name := parts[len(parts)-1]
		if len(parts) >= 3 && parts[0] == "github.com" {
			name = parts[2]
		}
		if parts[1] == "x" {
			name = "x/" + parts[2]
		}
		if !r.Indirect && !strings.Contains(all.String(), name) {
			t.Errorf("no page of docs/decisions names %s", r.Mod.Path)
		}
	}
}
