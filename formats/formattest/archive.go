package formattest

import (
	"archive/zip"
	"bytes"
	"io"
	"maps"
	"slices"
	"testing"
)

// Entry is a file in an archive.
type Entry struct{ Name, Content string }

// Zip builds an archive, entries in the given order and names as they are.
func Zip(tb testing.TB, entries ...Entry) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, e := range entries {
		f, err := w.Create(e.Name)
		if err == nil {
			_, err = io.WriteString(f, e.Content)
		}
		if err != nil {
			tb.Fatalf("zip %q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatalf("zip: %v", err)
	}
	return buf.Bytes()
}

// Module builds a Go module zip from files by their names in the module. Without
// a go.mod among them one that names the module is added.
func Module(tb testing.TB, path, version string, files map[string]string) []byte {
	tb.Helper()
	files = maps.Clone(files)
	if files == nil {
		files = map[string]string{}
	}
	if _, ok := files["go.mod"]; !ok {
		files["go.mod"] = "module " + path + "\n\ngo 1.21\n"
	}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entries = append(entries, Entry{path + "@" + version + "/" + name, files[name]})
	}
	return Zip(tb, entries...)
}
