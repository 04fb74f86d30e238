package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Limits of what is read of an upstream, in bytes.
const (
	maxRelease = 32 << 20
	maxIndex   = 1 << 30 // of one index, uncompressed
)

// flat is how scopes of repositories without dists/ begin: their indexes lie
// beside their packages.
const flat = ":flat"

// base is the directory of a scope's documents at an upstream.
func base(scope string) string {
	if dir, ok := strings.CutPrefix(scope, flat); ok {
		return strings.TrimPrefix(dir, "/")
	}
	return scope
}

// Entry is InRelease.
func (*Format) Entry(scope string) string {
	if strings.HasPrefix(scope, dists+"/") || strings.HasPrefix(scope, flat) {
		return formats.Join(base(scope), inRelease)
	}
	return ""
}

// Verbatim passes on what lies below dists/, the public key, and the list of
// distributions where the upstream has one.
func (*Format) Verbatim(op formats.Op) (at string, entry, ok bool) {
	switch op.Scope {
	case keys, dists:
		return op.Path, true, op.Path != setupDoc
	}
	at = formats.Join(base(op.Scope), op.Path)
	switch {
	case op.Label == labelRelease:
		return at, true, true
	case strings.Contains(op.Path, ".diff/") && path.Base(op.Path) != "Index":
		// Patches are named by the index beside them, which is listed.
		return at, true, true
	}
	return at, false, true
}

// Companions are the signature of Release, for clients that do without
// InRelease.
func (f *Format) Companions(scope string) (of string, paths []string) {
	if f.Entry(scope) == "" {
		return "", nil
	}
	return formats.Join(base(scope), release), []string{formats.Join(base(scope), releaseGPG)}
}

// Listed looks a document up in InRelease, or in Release where that is all the
// upstream has.
func (*Format) Listed(ctx context.Context, op formats.Op, src formats.Source) (digest.Sums, string, error) {
	rel, err := readRelease(ctx, op.Scope, src)
	if err != nil {
		return digest.Sums{}, "", err
	}
	a, sum, ok := rel.find(op.Path)
	if !ok {
		return digest.Sums{}, "", fmt.Errorf("%s/%s is in no list of the upstream's Release: %w", op.Scope, op.Path, formats.ErrNotFound)
	}
	var sums digest.Sums
	sums.Set(a.algorithm, sum)
	fixed := ""
	if rel.byHash {
		fixed = path.Join(base(op.Scope), path.Dir(op.Path), "by-hash", a.name, sums.Hex(a.algorithm))
	}
	return sums, fixed, nil
}

// releaseList is one of the lists of digests in a Release file.
type releaseList struct {
	name      string
	algorithm digest.Algorithm
}

var releaseLists = []releaseList{{"SHA256", digest.SHA256}, {"SHA512", digest.SHA512}, {"MD5Sum", digest.MD5}}

// upstreamRelease is what is needed of a Release file.
type upstreamRelease struct {
	byHash bool
	manual paragraph // the fields that keep apt from upgrading to it by itself
	list   releaseList
	files  map[string][]byte // digest by path
}

func readRelease(ctx context.Context, scope string, src formats.Source) (*upstreamRelease, error) {
	text, err := readAll(ctx, src, formats.Join(base(scope), inRelease))
	if errors.Is(err, formats.ErrNotFound) {
		text, err = readAll(ctx, src, formats.Join(base(scope), release))
	}
	if err != nil {
		return nil, err
	}
	return parseRelease(unsigned(text))
}

func readAll(ctx context.Context, src formats.Source, path string) ([]byte, error) {
	r, err := src.Open(ctx, path, digest.Sums{})
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(r, maxRelease+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRelease {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", formats.ErrUpstream, path, maxRelease)
	}
	return text, nil
}

// parseRelease reads the first of the lists that it has, the best one.
func parseRelease(text []byte) (*upstreamRelease, error) {
	rel := &upstreamRelease{files: map[string][]byte{}}
	current := ""
	lists := map[string]map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, value, _ := strings.Cut(line, ":")
			current = name
			yes := strings.EqualFold(strings.TrimSpace(value), "yes")
			switch {
			case name == "Acquire-By-Hash":
				rel.byHash = yes
			case yes && slices.Contains(manualFields, name):
				rel.manual = append(rel.manual, field{name, "yes"})
			}
			continue
		}
		words := strings.Fields(line)
		at := slices.IndexFunc(releaseLists, func(l releaseList) bool { return l.name == current })
		if at < 0 || len(words) != 3 {
			continue
		}
		sum, err := digest.ParseHex(releaseLists[at].algorithm, words[0])
		if err != nil {
			return nil, fmt.Errorf("%w: Release lists %.100q", formats.ErrUpstream, line)
		}
		if lists[current] == nil {
			lists[current] = map[string][]byte{}
		}
		lists[current][strings.TrimPrefix(words[2], "./")] = sum
	}
	for _, l := range releaseLists {
		if lists[l.name] != nil {
			rel.list, rel.files = l, lists[l.name]
			return rel, nil
		}
	}
	return nil, fmt.Errorf("%w: Release lists no files", formats.ErrUpstream)
}

func (r *upstreamRelease) find(path string) (releaseList, []byte, bool) {
	sum, ok := r.files[path]
	return r.list, sum, ok
}

// section is an index of an upstream.
type section struct{ component, arch, path string }

// sections returns the indexes of packages in the order of record names, each
// in the smallest form that can be read.
func (r *upstreamRelease) sections(set formats.Settings) []section {
	found := map[section]string{}
	for p := range r.files {
		s, form, ok := parseIndexPath(p)
		if !ok || len(set.Architectures) > 0 && s.arch != archAll && s.arch != archSource && !slices.Contains(set.Architectures, s.arch) ||
			len(set.Components) > 0 && !slices.Contains(set.Components, s.component) {
			continue
		}
		if have, ok := found[s]; !ok || rank(form) > rank(have) {
			found[s] = form
		}
	}
	var out []section
	for s, form := range found {
		s.path = index(s.component, s.arch) + form
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b section) int {
		return strings.Compare(a.component+"/"+a.arch+"/", b.component+"/"+b.arch+"/")
	})
	return out
}

func rank(form string) int { return slices.Index([]string{"", ".gz", ".xz"}, form) }

// parseIndexPath reads "main/binary-amd64/Packages.gz".
func parseIndexPath(p string) (s section, form string, ok bool) {
	parts := strings.Split(p, "/")
	if len(parts) != 3 || checkComponent(parts[0]) != nil {
		return section{}, "", false
	}
	name, form := parts[2], ""
	if at := strings.IndexByte(name, '.'); at >= 0 {
		name, form = name[:at], name[at:]
	}
	if rank(form) < 0 {
		return section{}, "", false
	}
	if parts[1] == "source" && name == "Sources" {
		return section{component: parts[0], arch: archSource}, form, true
	}
	arch, binary := strings.CutPrefix(parts[1], "binary-")
	if !binary || name != "Packages" || !architecture.MatchString(arch) {
		return section{}, "", false
	}
	return section{component: parts[0], arch: arch}, form, true
}

// Parse reads all indexes of an upstream's distribution into a pointer per
// package. An index is in memory while it is read.
func (f *Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		if !strings.HasPrefix(scope, dists+"/") {
			return
		}
		rel, err := readRelease(ctx, scope, src)
		if err != nil {
			yield(formats.Record{}, err)
			return
		}
		if len(rel.manual) > 0 && !yield(formats.Record{Scope: scope, Name: fieldsMark, Path: formats.Join(base(scope), inRelease), Move: true, Meta: rel.manual.append(nil)}, nil) {
			return
		}
		sections := rel.sections(src.Settings())
		for _, s := range sections {
			alone := slices.ContainsFunc(sections, func(o section) bool { return o.component == s.component && o.arch == archAll })
			recs, err := parseSection(ctx, scope, s, alone, rel, src)
			if err != nil {
				yield(formats.Record{}, err)
				return
			}
			for _, rec := range recs {
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

// parseSection returns the pointers of one index, in order of their names.
// alone: packages of every architecture have an index of their own, so that
// they are left out of the others.
func parseSection(ctx context.Context, scope string, s section, alone bool, rel *upstreamRelease, src formats.Source) ([]formats.Record, error) {
	var sums digest.Sums
	sums.Set(rel.list.algorithm, rel.files[s.path])
	r, err := src.Open(ctx, scope+"/"+s.path, sums)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	plain, err := formats.Decompress(path.Ext(s.path), r)
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", formats.ErrUpstream, scope, s.path, err)
	}
	defer plain.Close() //nolint:errcheck // only read
	ps := newParagraphs(formats.Limit(plain, maxIndex, "index"))
	var recs []formats.Record
	for {
		p, err := ps.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s/%s: %s", formats.ErrUpstream, scope, s.path, err.Error())
		}
		if alone && s.repeats(p) {
			continue
		}
		if rec, ok := upstreamPointer(scope, s, p); ok {
			recs = append(recs, rec)
		}
	}
	slices.SortStableFunc(recs, func(a, b formats.Record) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(recs, func(a, b formats.Record) bool { return a.Name == b.Name }), nil
}

// repeats tells whether a package stands here that is of all architectures, and
// so in the index of each. What a source package builds is another matter.
func (s section) repeats(p paragraph) bool {
	return s.arch != archAll && s.arch != archSource && p.get("Architecture") == archAll
}

// upstreamPointer makes a pointer of a stanza. What has no good name, or no
// path to fetch it from, is left out.
func upstreamPointer(scope string, s section, p paragraph) (formats.Record, bool) {
	name, version := p.get("Package"), p.get("Version")
	if !packageName.MatchString(name) || !versionText.MatchString(version) {
		return formats.Record{}, false
	}
	file := p.get("Filename")
	if s.arch == archSource {
		file = p.dsc()
		if formats.CheckPath(p.get("Directory")) != nil {
			return formats.Record{}, false
		}
	} else if formats.CheckPath(strings.TrimPrefix(file, "./")) != nil {
		return formats.Record{}, false
	}
	meta := p.append(nil)
	if len(meta) > maxStanza || bytes.IndexByte(meta, 0) >= 0 {
		return formats.Record{}, false
	}
	if s.repeats(p) {
		file = "" // in the index of each architecture: one path, several pointers
	}
	at := pooled{Component: s.component, Arch: s.arch, Package: name, Version: version}
	return formats.Record{Scope: scope, Name: at.name(), Path: file, Move: true, Meta: meta}, true
}

// dsc is the path of a source package's description, "" where the stanza does
// not tell.
func (p paragraph) dsc() string {
	for e := range p.promises() {
		if strings.HasSuffix(e.Path, ".dsc") && formats.CheckPath(e.Path) == nil {
			return e.Path
		}
	}
	return ""
}
