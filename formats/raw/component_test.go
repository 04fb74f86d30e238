package raw_test

import (
	"errors"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/raw"
)

func TestComponent(t *testing.T) {
	file := func(field, name, content string) formattest.Part {
		return formattest.Part{Name: field, File: name, Content: content}
	}
	text := func(field, content string) formattest.Part { return formattest.Part{Name: field, Content: content} }
	for _, tc := range []struct {
		name  string
		parts []formattest.Part
		cut   int
		want  error
		keys  string
	}{
		{name: "fields before files", keys: "d/e/a", parts: []formattest.Part{text("raw.directory", "d/e"), text("raw.asset1.filename", "a"), file("raw.asset1", "x", "1")}},
		{name: "fields after files", keys: "d/e/a", parts: []formattest.Part{file("raw.asset1", "x", "1"), text("raw.asset1.filename", "a"), text("raw.directory", "/d/e/")}},
		{name: "names of the parts", keys: "d/a d/b", parts: []formattest.Part{file("raw.asset1", "a", "1"), file("raw.asset2", "b", "2"), text("raw.directory", "d")}},
		{name: "a name with directories", keys: "d/e/f/a", parts: []formattest.Part{file("raw.asset9", "x", "1"), text("raw.asset9.filename", "e/f/a"), text("raw.directory", "d")}},
		{name: "the root", keys: "a", parts: []formattest.Part{file("raw.asset", "a", "1"), text("raw.directory", "/")}},
		{name: "no directory", keys: "a", parts: []formattest.Part{file("raw.asset1", "a", "1")}},
		{name: "other fields", keys: "a", parts: []formattest.Part{file("raw.asset1", "a", "1"), file("yum.asset", "b", "2"), text("raw.asset1.x", "y")}},
		{name: "a file without a name", want: formats.ErrBadRequest, parts: []formattest.Part{text("raw.asset1", "1")}},
		{name: "no file", want: formats.ErrBadRequest, parts: []formattest.Part{text("raw.directory", "d")}},
		{name: "one name twice", want: formats.ErrBadRequest, parts: []formattest.Part{file("raw.asset1", "a", "1"), file("raw.asset2", "a", "2")}},
		{name: "dot-dot in a name", want: formats.ErrBadRequest, parts: []formattest.Part{file("raw.asset1", "a", "1"), text("raw.asset1.filename", "../a")}},
		{name: "dot-dot in the directory", want: formats.ErrBadRequest, parts: []formattest.Part{file("raw.asset1", "a", "1"), text("raw.directory", "../a")}},
		{name: "a long directory", want: formats.ErrBadRequest, parts: []formattest.Part{text("raw.directory", strings.Repeat("d/", 600)), file("raw.asset1", "a", "1")}},
		{name: "cut", want: formats.ErrTruncated, cut: 20, parts: []formattest.Part{file("raw.asset1", "a", "1"), text("raw.directory", "d")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := formattest.NewStore(t, raw.New())
			tx := formattest.NewTx(t, s)
			header, body := formattest.Form(t, tc.parts...)
			up := &formats.Upload{Header: header, Body: strings.NewReader(string(body[:len(body)-tc.cut])), Size: -1}
			err := raw.New().Accept(t.Context(), raw.New().Component(), up, tx)
			if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if err == nil {
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(s.Keys(), " "); got != tc.keys {
				t.Errorf("stored %q, want %q", got, tc.keys)
			}
		})
	}
}
