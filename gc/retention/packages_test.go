package retention_test

import (
	"slices"
	"testing"

	"granary/formats/formattest"
	"granary/repo/config"
)

// In a repository whose packages all lie in one scope, each keeps its versions.
func TestPackagesOfOneScope(t *testing.T) {
	w := newWorld(t)
	w.Create("charts", config.Hosted, "helm", func(c *config.Repository) { c.CleanupKeepLast = n(1) })
	for _, c := range [][2]string{{"lib", "1.0.0"}, {"lib", "1.1.0"}, {"app-2", "0.1.0"}} {
		chart := formattest.TarGz(t, formattest.Entry{Name: c[0] + "/Chart.yaml", Content: "apiVersion: v2\nname: " + c[0] + "\nversion: " + c[1] + "\n"})
		w.Put("charts", c[0]+"-"+c[1]+".tgz", chart)
		w.Clock.Advance(day)
	}
	_, gone := w.clean("charts", false)
	if got := w.paths("charts"); len(gone) != 1 || !slices.Equal(got, []string{"app-2-0.1.0.tgz", "lib-1.1.0.tgz"}) {
		t.Errorf("gone are %v, left are %v", gone, got)
	}
	if index := string(w.Get("charts", "index.yaml")); len(index) == 0 {
		t.Error("no index")
	}
}
