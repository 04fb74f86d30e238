package yum

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"granary/formats"
)

// Limits of comps, modules and updateinfo, in bytes.
const (
	maxExtra = 128 << 20 // of one document, uncompressed; it is in memory while it is taken apart
	maxPart  = 180 << 10 // of one part, compressed
	maxParts = 50_000
)

// extra is a kind of metadata that is uploaded as a document and kept in parts,
// so that a group can merge what its members have. Parts are records called
// "<prefix><id>", and what the last upload had is listed in the record mark.
type extra struct {
	file         string // what it is called
	prefix, mark string
	kinds        []string // in repomd.xml, the best first
	head, tail   string
	split        func(text []byte, yield func(id string, part []byte) error) error
}

var extras = []*extra{
	{
		file: "comps.xml", prefix: "comps/:", mark: ":comps", kinds: []string{"group_gz", "group"},
		head: xmlHead + `<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">` + "\n<comps>\n",
		tail: "</comps>\n",
		split: func(text []byte, yield func(string, []byte) error) error {
			return splitXML(text, "comps", compsID, yield)
		},
	},
	{
		file: "modules.yaml", prefix: "modules/:", mark: ":modules", kinds: []string{"modules"},
		split: splitYAML,
	},
	{
		file: "updateinfo.xml", prefix: "updateinfo/:", mark: ":updateinfo", kinds: []string{"updateinfo"},
		head: xmlHead + "<updates>\n", tail: "</updates>\n",
		split: func(text []byte, yield func(string, []byte) error) error {
			return splitXML(text, "updates", updateID, yield)
		},
	},
}

// extraOf returns the kind that a file's name tells, compressed or not.
func extraOf(name string) *extra {
	for _, x := range extras {
		if rest, ok := strings.CutPrefix(name, x.file); ok && slices.Contains([]string{"", ".gz", ".xz", ".zst", ".bz2"}, rest) {
			return x
		}
	}
	return nil
}

// partID is what tells parts apart.
type partID struct {
	ID string `xml:"id"`
}

func compsID(name string, id string) string {
	if name == "langpacks" || name == "blacklist" || name == "whiteout" {
		return name // there is one of each
	}
	if id == "" {
		return ""
	}
	return name + ":" + id
}

func updateID(_ string, id string) string { return id }

// splitXML yields the elements below the root as they are written, with "" for
// the id of one that has none. Entities other than XML's own are refused with
// everything else that is not well formed.
func splitXML(text []byte, root string, name func(element, id string) string, yield func(string, []byte) error) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	inside := false
	for {
		from := d.InputOffset()
		t, err := d.Token()
		if err == io.EOF && inside { //nolint:errorlint // plain by contract
			return nil
		}
		if err != nil {
			return formats.BadRequest("it is no %s document: %v", root, err)
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
			continue
		case !inside && start.Name.Local != root:
			return formats.BadRequest("it begins with <%.50s> instead of <%s>", start.Name.Local, root)
		case !inside:
			inside = true
			continue
		}
		var x partID
		if err := d.DecodeElement(&x, &start); err != nil {
			return formats.BadRequest("it is no %s document: %v", root, err)
		}
		id := name(start.Name.Local, strings.TrimSpace(x.ID))
		if err := yield(id, append(bytes.Clone(bytes.TrimSpace(text[from:d.InputOffset()])), '\n')); err != nil {
			return err
		}
	}
}

// splitYAML yields the documents of a stream of modulemd.
func splitYAML(text []byte, yield func(string, []byte) error) error {
	for _, part := range yamlDocuments(text) {
		var x struct {
			Document string
			Data     struct {
				Name, Module, Stream, Version, Context, Arch, Modified string
			}
		}
		if err := formats.UnmarshalYAML(part, &x); err != nil {
			return formats.BadRequest("it is no modulemd: %v", err)
		}
		name := x.Data.Name + x.Data.Module
		id := ""
		switch {
		case x.Document == "" || name == "":
		case x.Document == "modulemd-defaults":
			id = x.Document + ":" + name // a module has one; the stream is what it says
		case x.Document == "modulemd-obsoletes":
			id = strings.Join([]string{x.Document, name, x.Data.Stream, x.Data.Context, x.Data.Modified}, ":")
		default:
			id = strings.Join([]string{x.Document, name, x.Data.Stream, x.Data.Version, x.Data.Context, x.Data.Arch}, ":")
		}
		out := append([]byte("---\n"), bytes.TrimSpace(part)...)
		if err := yield(id, append(out, "\n...\n"...)); err != nil {
			return err
		}
	}
	return nil
}

// yamlDocuments cuts a stream at its markers, which stand at the beginning of a
// line and nowhere in the documents.
func yamlDocuments(text []byte) (out [][]byte) {
	var doc []byte
	end := func() {
		if len(bytes.TrimSpace(doc)) > 0 {
			out = append(out, doc)
		}
		doc = nil
	}
	for line := range bytes.Lines(text) {
		switch marker := bytes.TrimRight(line, " \t\r\n"); {
		case bytes.Equal(marker, []byte("---")), bytes.Equal(marker, []byte("...")):
			end()
		default:
			doc = append(doc, line...)
		}
	}
	end()
	return out
}

// parts takes a document apart into records without scope, in order of their
// names; of two with one name the first counts. A part that can't be kept is an
// error, or left out of what an upstream has: the rest is not its fault.
func (x *extra) parts(r io.Reader, c *codec, lenient bool) ([]formats.Record, error) {
	text, err := io.ReadAll(formats.Limit(r, maxExtra, x.file))
	if err != nil {
		return nil, err
	}
	var out []formats.Record
	err = x.split(text, func(id string, part []byte) error {
		rec, err := x.part(id, part, c)
		switch {
		case err != nil && lenient:
			return nil
		case err != nil:
			return err
		case len(out) == maxParts:
			return formats.BadRequest("it has more than %d parts", maxParts)
		}
		out = append(out, rec)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b formats.Record) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b formats.Record) bool { return a.Name == b.Name }), nil
}

// part is the record of one.
func (x *extra) part(id string, text []byte, c *codec) (formats.Record, error) {
	rec := formats.Record{Name: x.prefix + strings.ReplaceAll(id, "/", "%2F"), Move: true, Meta: c.enc.EncodeAll(text, nil)}
	switch {
	case id == "":
		return rec, formats.BadRequest("a part of it has no id, or no kind: %.100q", text)
	case len(rec.Meta) > maxPart:
		return rec, formats.BadRequest("%.100q has %d bytes when compressed, at most %d are possible", id, len(rec.Meta), maxPart)
	}
	return rec, formats.CheckPath(rec.Name)
}

// listing is the Meta of a mark: the names that the last upload left, and those
// that it took away, for the case that it died in between.
type listing struct {
	Names []string `cbor:"1,keyasint,omitempty"`
	Gone  []string `cbor:"2,keyasint,omitempty"`
}

func (c *codec) packListing(l listing) ([]byte, error) {
	b, err := cbor.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode a list of parts: %w", err)
	}
	if b = c.enc.EncodeAll(b, nil); len(b) > maxPart {
		return nil, formats.BadRequest("it has too many parts")
	}
	return b, nil
}

func (c *codec) unpackListing(rec formats.Record) (l listing, err error) {
	b, err := c.dec.DecodeAll(rec.Meta, nil)
	if err == nil {
		err = cbor.Unmarshal(b, &l)
	}
	if err != nil {
		return l, fmt.Errorf("%w: list of parts %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	return l, nil
}

// acceptExtra replaces all parts of a kind in a root by those of a document, or
// removes them (up is nil).
func acceptExtra(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	x := extraOf(op.Name)
	c, err := newCodec()
	if err != nil {
		return err
	}
	defer c.close()
	var recs []formats.Record
	if up != nil {
		o := &opened{name: op.Name}
		defer o.Close()
		if err := o.unpack(up.Body); err != nil {
			return formats.BadRequest("%s can't be read: %v", op.Name, err)
		}
		if recs, err = x.parts(o, c, false); err != nil {
			return fmt.Errorf("%s: %w", op.Name, readable(err))
		}
	}
	return x.replace(ctx, op.Scope, recs, up == nil, c, tx)
}

// readable says of what a decompressor could not read that it is the body's
// fault, unless somebody else said so.
func readable(err error) error {
	if errors.Is(err, formats.ErrBadRequest) || errors.Is(err, formats.ErrTooLarge) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", formats.ErrBadRequest, err)
}

func (x *extra) replace(ctx context.Context, scope string, recs []formats.Record, remove bool, c *codec, tx formats.Tx) error {
	var now, next listing
	var was []byte
	old, err := tx.Record(ctx, scope, x.mark)
	switch {
	case err == nil:
		was = old.Meta
		if now, err = c.unpackListing(old); err != nil {
			return err
		}
	case !errors.Is(err, formats.ErrNotFound):
		return fmt.Errorf("look up %s: %w", x.file, err)
	}
	for _, rec := range recs {
		next.Names = append(next.Names, rec.Name)
	}
	for _, name := range now.Names {
		if _, kept := slices.BinarySearch(next.Names, name); !kept {
			next.Gone = append(next.Gone, name)
		}
	}
	if remove {
		for _, name := range slices.Concat(now.Names, now.Gone) {
			tx.Delete(scope, name)
		}
		tx.Delete(scope, x.mark)
		return nil
	}
	meta, err := c.packListing(next)
	if err != nil {
		return err
	}
	var b batch
	if err := b.announce(ctx, strings.TrimSuffix(strings.TrimSuffix(scope, repodata), "/"), tx); err != nil {
		return err
	}
	tx.PutIf(formats.Record{Scope: scope, Name: x.mark, Move: true, Meta: meta}, nil, func(old *formats.Record) error {
		if old != nil && !bytes.Equal(old.Meta, was) && !bytes.Equal(old.Meta, meta) || old == nil && was != nil {
			return fmt.Errorf("%w: another %s is being uploaded", formats.ErrBusy, x.file)
		}
		return nil
	})
	b.put(tx)
	for _, rec := range recs {
		rec.Scope = scope
		tx.Put(rec, nil)
	}
	for _, name := range slices.Concat(now.Gone, next.Gone) {
		if _, kept := slices.BinarySearch(next.Names, name); !kept {
			tx.Delete(scope, name)
		}
	}
	return nil
}

// partOf finds the kind that a record is a part of, nil for others.
func partOf(name string) *extra {
	for _, x := range extras {
		if strings.HasPrefix(name, x.prefix) {
			return x
		}
	}
	return nil
}
