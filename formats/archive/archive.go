// Package archive reads zip and tar archives that strangers made. It walks all
// entries, so that a package whose parts lead out of its folder, that has links
// out of it, or that unpacks to something absurd is found before it is
// published. Nothing is ever unpacked to a disk.
package archive

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"granary/formats"
)

// Limits of an archive. A zero field is not limited.
type Limits struct {
	// Entries is how many files, directories and links there may be.
	Entries int
	// Bytes is how much all files together may unpack to.
	Bytes int64
	// Ratio is how many times its packed size an archive may unpack to; it is
	// judged from ratioFrom bytes on, below which everything is small.
	Ratio int64
}

// Default are the limits of packages: far beyond what is published, and far
// below what fills a disk.
var Default = Limits{Entries: 200_000, Bytes: 32 << 30, Ratio: 200}

const (
	ratioFrom = 64 << 20
	maxName   = 4096 // bytes of a path within
	maxLink   = 4096 // bytes of a link's target
)

// Kind is what an entry is.
type Kind uint8

// The kinds of entries.
const (
	File Kind = iota + 1
	Dir
	Link
)

// Entry is one file, directory or link of an archive.
type Entry struct {
	// Name is the path within, clean, without slash at its beginning or end.
	Name string
	Kind Kind
	Size int64
	Mode int64 // permission bits
	// Body reads a file, during the call only. What it returns as an error is
	// an ErrBadPackage where the archive is broken.
	Body io.Reader
}

// bad returns an ErrBadPackage with a sentence for the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// check counts entries and bytes against limits.
type check struct {
	limits  Limits
	packed  int64
	entries int
	bytes   int64
}

// entry checks a name and counts it. "" as the clean name is the root itself.
func (c *check) entry(name string) (string, error) {
	if c.entries++; c.limits.Entries > 0 && c.entries > c.limits.Entries {
		return "", bad("the archive has more than %d entries", c.limits.Entries)
	}
	return cleanName(name)
}

func cleanName(name string) (string, error) {
	switch {
	case len(name) > maxName:
		return "", bad("the archive has a path of %d bytes, at most %d are possible", len(name), maxName)
	case strings.HasPrefix(name, "/"), strings.Contains(name, `\`), len(name) > 1 && name[1] == ':', strings.ContainsRune(name, 0):
		return "", bad("%q in the archive is no relative path", name)
	}
	for seg := range strings.SplitSeq(name, "/") {
		if seg == ".." {
			return "", bad("%q in the archive leads out of it", name)
		}
	}
	clean := path.Clean("/" + name)[1:]
	return clean, nil
}

// link refuses a link whose target is not within the archive. A hard link's
// target is relative to the root, a symbolic one's to its folder.
func link(name, target string, hard bool) error {
	dir := path.Dir(name)
	if hard {
		dir = "."
	}
	if target == "" || len(target) > maxLink || strings.HasPrefix(target, "/") || strings.ContainsAny(target, "\\\x00") {
		return bad("link %q in the archive leads out of it", name)
	}
	if to := path.Join(dir, target); to == ".." || strings.HasPrefix(to, "../") {
		return bad("link %q in the archive leads out of it", name)
	}
	return nil
}

// add counts unpacked bytes.
func (c *check) add(n int64) error {
	if n < 0 {
		return bad("a file in the archive has a size below zero")
	}
	c.bytes += n
	if c.bytes < 0 || c.limits.Bytes > 0 && c.bytes > c.limits.Bytes {
		return bad("the archive unpacks to more than %d bytes", c.limits.Bytes)
	}
	if c.limits.Ratio > 0 && c.bytes > ratioFrom && c.bytes/c.limits.Ratio > c.packed {
		return bad("the archive unpacks to more than %d times its size", c.limits.Ratio)
	}
	return nil
}

// ReadAll reads a file of an archive, of at most limit bytes.
func ReadAll(e Entry, limit int64) ([]byte, error) {
	if e.Size > limit {
		return nil, bad("%s in the archive has %d bytes, at most %d are possible", e.Name, e.Size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(e.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, bad("%s in the archive has more than %d bytes", e.Name, limit)
	}
	return b, nil
}

// source remembers how reading the packed bytes failed, which is not the
// archive's fault.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// explain tells a broken archive from a failure of the store.
func explain(stored, err error) error {
	switch {
	case stored != nil:
		return fmt.Errorf("read archive: %w", stored)
	case errors.Is(err, formats.ErrBadRequest), errors.Is(err, formats.ErrTooLarge):
		return err
	}
	return bad("read archive: %v", err)
}
