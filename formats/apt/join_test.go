package apt_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/apt"
	"granary/repo/config"
	"granary/repo/repotest"
)

// A package whose name, version and architecture the target lists for another
// file of the pool is not promoted, as it could not be uploaded.
func TestPromotionOfListedPackages(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format { return []formats.Format{apt.New(now)} }})
	for _, name := range []string{"staging", "release"} {
		r.Create(name, config.Hosted, "apt", nil)
	}
	const upload = "pool/stable/main/upload"
	there := debOf(t, ".gz", strings.Replace(control("hello", "1.0-1", "amd64"), "Architecture:", "Source: elsewhere\nArchitecture:", 1), "text")
	r.Put("release", upload, []byte(there))
	for _, name := range []string{"hello", "aaa"} {
		r.Put("staging", upload, []byte(debOf(t, ".gz", control(name, "1.0-1", "amd64"), "text")))
	}
	if err := r.Promoted("staging", "release", "pool"); !errors.Is(err, formats.ErrExists) {
		t.Errorf("promoted over another file: %v", err)
	}
	packages := func() string { return string(r.Get("release", "dists/stable/main/binary-amd64/Packages")) }
	if got := packages(); strings.Contains(got, "Package: aaa") || !strings.Contains(got, "pool/main/e/elsewhere/hello") {
		t.Errorf("the target lists\n%s", got)
	}
	if err := r.Promoted("staging", "release", "pool/main/a"); err != nil {
		t.Fatal(err)
	}
	if got := packages(); !strings.Contains(got, "Package: aaa") {
		t.Errorf("the target lists\n%s", got)
	}
}
