package golang

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"granary/formats"
)

// routeSumDB reads "sumdb/<database>/…". Only caches have such files; a hosted
// repository answers 404 to "supported", and the go command then asks the
// database itself.
func routeSumDB(path string) (formats.Op, bool) {
	rest, ok := strings.CutPrefix(path, "sumdb/")
	if !ok {
		return formats.Op{}, false
	}
	file, ok := sumDBFile(rest)
	if !ok {
		return formats.Op{}, false
	}
	// A directory is a scope, so that the many tiles spread over shards.
	i := strings.LastIndexByte(path, '/')
	op := formats.Op{Kind: formats.File, Label: labelSumDB, Scope: path[:i], Name: path[i+1:], Type: typeText}
	switch {
	case strings.HasPrefix(file, "lookup/"):
		// The answer carries a signed head of the tree as it then was, which
		// stays valid; clients bring a newer one where they need it.
		op.Fixed = true
	case strings.HasPrefix(file, "tile/"):
		// The path has the width: also of a partial tile the bytes stay.
		op.Fixed = true
		if !strings.Contains(file, "/data/") {
			op.Type = typeTile
		}
	}
	return op, true
}

// sumDBFile finds the file in "<database>/<file>" and checks both. The name of
// a database is a host, with a path perhaps.
func sumDBFile(rest string) (string, bool) {
	segs := strings.Split(rest, "/")
	for i, seg := range segs {
		last := i == len(segs)-1
		switch {
		case i == 0, last && seg != "supported" && seg != "latest", !last && seg != "lookup" && seg != "tile":
			continue
		}
		file := strings.Join(segs[i:], "/")
		return file, databaseName(segs[:i]) && goodSumDBFile(file)
	}
	return "", false
}

func databaseName(segs []string) bool {
	for _, seg := range segs {
		if seg == "" || url.PathEscape(seg) != seg || strings.ContainsAny(seg, ":@") {
			return false
		}
	}
	return true
}

func goodSumDBFile(file string) bool {
	if lookup, ok := strings.CutPrefix(file, "lookup/"); ok {
		_, err := unescapeLookup(lookup)
		return err == nil
	}
	if strings.HasPrefix(file, "tile/") {
		_, err := tlog.ParseTilePath(file)
		return err == nil
	}
	return true
}

// unescapeLookup reads "<module>@<version>", both escaped.
func unescapeLookup(s string) (module.Version, error) {
	name, version, ok := strings.Cut(s, "@")
	if !ok {
		return module.Version{}, fmt.Errorf("%q has no version", s)
	}
	name, err := module.UnescapePath(name)
	if err != nil {
		return module.Version{}, err
	}
	version, err = module.UnescapeVersion(version)
	return module.Version{Path: name, Version: version}, err
}

// maxSumDB is the size of an answer of a checksum database, in bytes; its
// largest are data tiles.
const maxSumDB = 16 << 20

// checkSumDB refuses an answer that a checksum database can't have given, such
// as an error page: what is stored here is kept for ever.
func checkSumDB(path string, data []byte) error {
	file, ok := sumDBFile(strings.TrimPrefix(path, "sumdb/"))
	if !ok {
		return bad("%s is no path of a checksum database", path)
	}
	switch {
	case strings.HasPrefix(file, "lookup/"):
		return checkLookup(strings.TrimPrefix(file, "lookup/"), data)
	case strings.HasPrefix(file, "tile/"):
		return checkTile(file, data)
	case file == "latest":
		if _, err := tlog.ParseTree(data); err != nil {
			return bad("%s: %v", path, err)
		}
	}
	return nil
}

func checkLookup(lookup string, data []byte) error {
	m, err := unescapeLookup(lookup)
	if err != nil {
		return bad("lookup of %s: %v", lookup, err)
	}
	_, text, tree, err := tlog.ParseRecord(data)
	if err == nil {
		_, err = tlog.ParseTree(tree)
	}
	if err != nil {
		return bad("lookup of %s: %v", lookup, err)
	}
	if line := m.Path + " " + m.Version + " h1:"; !bytes.HasPrefix(text, []byte(line)) && !bytes.Contains(text, []byte("\n"+line)) {
		return bad("lookup of %s: the answer is about something else", lookup)
	}
	return nil
}

func checkTile(file string, data []byte) error {
	t, err := tlog.ParseTilePath(file)
	if err != nil {
		return bad("%s: %v", file, err)
	}
	if t.L >= 0 && len(data) != t.W*tlog.HashSize {
		return bad("%s has %d bytes, not %d hashes", file, len(data), t.W)
	}
	if t.L < 0 && (bytes.Count(data, []byte("\n\n")) != t.W || !bytes.HasSuffix(data, []byte("\n\n"))) {
		return bad("%s has not the text of %d records", file, t.W)
	}
	return nil
}
