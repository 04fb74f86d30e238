package yum_test

import (
	"errors"
	"strings"
	"testing"

	"granary/formats"
	"granary/repo/config"
)

// The same package uploaded at another path is listed there, and stays listed when
// the other copy goes.
func TestSamePackageElsewhere(t *testing.T) {
	r := newRig(t)
	r.Create("h", config.Hosted, "yum", nil)
	body := hello(1, "same").build()
	for _, path := range []string{"old/hello.rpm", "new/hello.rpm"} {
		r.Put("h", path, body)
	}
	if _, _, err := r.Send(t.Context(), "h", "DELETE", "old/hello.rpm", nil); err != nil {
		t.Fatal(err)
	}
	if got := unzipped(t, r.Get("h", "repodata/primary.xml.gz")); !strings.Contains(got, `href="new/hello.rpm"`) {
		t.Errorf("the metadata:\n%s", got)
	}
}

// A package that the target lists from elsewhere with other bytes is not promoted,
// as it could not be uploaded; with the same bytes it is listed at the later path.
func TestPromotionOfListedPackages(t *testing.T) {
	for _, text := range []string{"other", "same"} {
		r := newRig(t)
		for _, name := range []string{"staging", "release"} {
			r.Create(name, config.Hosted, "yum", nil)
		}
		r.Put("staging", "new/hello.rpm", hello(1, "same").build())
		r.Put("staging", "a/first.rpm", hello(0, "same").build())
		r.Put("release", "old/hello.rpm", hello(1, text).build())
		err := r.Promoted("staging", "release", "a", "new")
		primary := unzipped(t, r.Get("release", "repodata/primary.xml.gz"))
		if text == "same" {
			if err != nil || !strings.Contains(primary, `href="new/hello.rpm"`) || strings.Contains(primary, `href="old/hello.rpm"`) {
				t.Errorf("%v:\n%s", err, primary)
			}
			continue
		}
		if !errors.Is(err, formats.ErrExists) || !strings.Contains(primary, `packages="1"`) {
			t.Errorf("%v:\n%s", err, primary)
		}
		r.Refused(formats.ErrNotFound, "release", "GET", "a/first.rpm", nil)
	}
}
