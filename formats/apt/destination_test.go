package apt_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

// What properties behind a path say, as Artifactory's clients send them: lists
// with commas or by repetition.
func TestProperties(t *testing.T) {
	deb := debOf(t, ".zst", control("hello", "1.0", "amd64"), "one")
	for properties, want := range map[string]string{
		"":                      ":stable",
		";deb.distribution=a":   ":a",
		";deb.distribution=a,b": ":a :b",
		";deb.distribution=a;deb.distribution=b;deb.component=x;deb.architecture=amd64": ":a :b",
		";deb.architecture=i386,amd64":                                     ":stable",
		";deb.architecture=i386;deb.architecture=amd64;other.property=yes": ":stable",
		";deb.architecture=i386":                                           "400",
		";deb.component=main;deb.component=extra":                          "400",
		";deb.component=main,extra":                                        "400",
		";deb.distribution=../x":                                           "400",
	} {
		s := formattest.NewStore(t, format())
		err := accept(t, s, http.MethodPut, "pool/hello.deb"+properties, http.Header{}, deb)
		got := pointers(t, s, "dists")
		if errors.Is(err, formats.ErrBadRequest) {
			got += "400"
		} else if err != nil {
			t.Errorf("%q: %v", properties, err)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", properties, got, want)
		}
	}
}

// Nexus's form has to say the distribution.
func TestComponentForm(t *testing.T) {
	file := formattest.Part{Name: "apt.asset", File: "x.deb", Content: debOf(t, ".gz", control("hello", "1.0", "amd64"), "one")}
	for want, parts := range map[string][]formattest.Part{
		"":        {file},
		":plucky": {file, {Name: "apt.asset.distribution", Content: "plucky"}, {Name: "apt.asset.component", Content: "extra"}},
	} {
		s := formattest.NewStore(t, format())
		h, body := formattest.Form(t, parts...)
		tx := formattest.NewTx(t, s)
		err := format().Accept(t.Context(), format().Component(), &formats.Upload{Header: h, Body: bytes.NewReader(body), Size: int64(len(body))}, tx)
		if err == nil {
			err = tx.Commit()
		}
		if (err != nil) != (want == "") || err != nil && !errors.Is(err, formats.ErrBadRequest) || pointers(t, s, "dists") != want {
			t.Errorf("%d fields: %v, distributions %q", len(parts), err, pointers(t, s, "dists"))
		}
	}
}
