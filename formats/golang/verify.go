package golang

import (
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"granary/formats"
)

// Verifies is true for all files of the protocol: what a cache takes for the
// bytes of a version it keeps for ever.
func (*Format) Verifies(op formats.Op) bool {
	return op.Kind == formats.File && !(op.Label == labelSumDB && op.Name == "supported")
}

// Verify checks that a file of an upstream is what its name says: names and
// sizes in a zip, the version in an info, a go.mod with a module, the form of
// what a checksum database answers. It does not compare the hash of a zip with
// the checksum database: without the database's key that would only ask the same
// upstream twice. The go command does it, through this repository's sumdb/.
func (*Format) Verify(_ context.Context, op formats.Op, b formats.Blob, _ formats.Source) error {
	if op.Label == labelSumDB {
		data, err := readSmall(b, maxSumDB)
		if err != nil {
			return err
		}
		return checkSumDB(op.Key(), data)
	}
	base, ext, _ := splitExt(op.Name)
	m, err := unescape(strings.TrimSuffix(op.Scope, versions), base)
	if err != nil {
		return err
	}
	switch ext {
	case labelInfo:
		return verifyInfo(m, op.Fixed, b)
	case labelMod:
		// Its module may be another: the go.mod of a fork, used by a replace.
		data, err := readSmall(b, modzip.MaxGoMod)
		if err == nil && modfile.ModulePath(data) == "" {
			err = bad("%s names no module", op.Name)
		}
		return err
	case labelZip:
		if b.Size() > modzip.MaxZipFile {
			return bad("%s has %d bytes, at most %d are possible", op.Name, b.Size(), modzip.MaxZipFile)
		}
		a, err := openArchive(b)
		if err != nil {
			return err
		}
		return a.check(m)
	}
	return bad("%s is no file of a module", op.Key())
}

// verifyInfo checks the version that the info tells: the one asked for, or, for
// a query such as a branch, any.
func verifyInfo(m module.Version, fixed bool, b formats.Blob) error {
	data, err := readSmall(b, maxInfo)
	if err != nil {
		return err
	}
	if !fixed {
		_, err = parseInfo(data)
		return err
	}
	_, err = parseInfoOf(data, m.Version)
	return err
}

// readSmall returns the whole content, which must not be larger than limit.
func readSmall(b formats.Blob, limit int64) ([]byte, error) {
	if b.Size() > limit {
		return nil, bad("%d bytes, at most %d are possible", b.Size(), limit)
	}
	data, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		return nil, fmt.Errorf("read for verification: %w", err)
	}
	return data, nil
}
