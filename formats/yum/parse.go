package yum

import (
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Limits of what is read of an upstream, in bytes.
const (
	maxRepomd   = 8 << 20
	maxMetadata = 8 << 30 // of one document, uncompressed
	maxApart    = 4 << 20 // bytes kept of packages that are in another order in two documents
)

// upstreamData is an entry of an upstream's repomd.xml.
type upstreamData struct {
	Kind     string `xml:"type,attr"`
	Location struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
	Checksum struct {
		Type  string `xml:"type,attr"`
		Value string `xml:",chardata"`
	} `xml:"checksum"`
}

// algorithms by the names that metadata has for them.
var algorithms = map[string]digest.Algorithm{
	"sha256": digest.SHA256, "sha512": digest.SHA512, "sha": digest.SHA1, "sha1": digest.SHA1, "md5": digest.MD5,
}

// sums is the digest of the document; the zero value for one that is not known.
func (d upstreamData) sums() (digest.Sums, error) {
	var out digest.Sums
	a, ok := algorithms[strings.ToLower(d.Checksum.Type)]
	if !ok {
		return out, fmt.Errorf("%w: repomd.xml has a checksum of type %.20q", formats.ErrUpstream, d.Checksum.Type)
	}
	b, err := digest.ParseHex(a, strings.TrimSpace(d.Checksum.Value))
	if err != nil {
		return out, fmt.Errorf("%w: repomd.xml: %w", formats.ErrUpstream, err)
	}
	out.Set(a, b)
	return out, nil
}

// readRepomd reads the entry document of a scope.
func readRepomd(ctx context.Context, scope string, src formats.Source) ([]upstreamData, error) {
	r, err := src.Open(ctx, scope+"/"+repomd, digest.Sums{})
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(formats.Limit(r, maxRepomd, repomd))
	if errors.Is(err, formats.ErrTooLarge) {
		return nil, fmt.Errorf("%w: %s", formats.ErrUpstream, err.Error())
	}
	if err != nil {
		return nil, err
	}
	return parseRepomd(text)
}

func parseRepomd(text []byte) ([]upstreamData, error) {
	var doc struct {
		XMLName xml.Name       `xml:"repomd"`
		Data    []upstreamData `xml:"data"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: repomd.xml can't be read: %s", formats.ErrUpstream, err.Error())
	}
	return doc.Data, nil
}

// Parse reads an upstream's metadata into a pointer per package. The
// descriptions are in memory, compressed, until all are known: upstreams order
// them as they like.
func (*Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		if path.Base(scope) != repodata {
			return
		}
		recs, err := parseAll(ctx, scope, src)
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

func parseAll(ctx context.Context, scope string, src formats.Source) ([]formats.Record, error) {
	list, err := readRepomd(ctx, scope, src)
	if err != nil {
		return nil, err
	}
	recs, err := parsePackages(ctx, scope, list, src)
	if err != nil {
		return nil, err
	}
	parts, err := parseExtras(ctx, scope, list, src)
	if err != nil {
		return nil, err
	}
	recs = append(recs, parts...)
	slices.SortStableFunc(recs, func(a, b formats.Record) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(recs, func(a, b formats.Record) bool { return a.Name == b.Name }), nil
}

// parseExtras reads comps and its like of an upstream.
func parseExtras(ctx context.Context, scope string, list []upstreamData, src formats.Source) ([]formats.Record, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	defer c.close()
	var out []formats.Record
	for _, x := range extras {
		at := slices.IndexFunc(list, func(d upstreamData) bool { return slices.Contains(x.kinds, d.Kind) })
		if at < 0 {
			continue
		}
		o, err := open(ctx, scope, list[at], src)
		if err != nil {
			return nil, err
		}
		recs, err := x.parts(o, c, true)
		o.Close()
		if err != nil {
			return nil, o.wrong(err)
		}
		for _, rec := range recs {
			rec.Scope = scope
			out = append(out, rec)
		}
	}
	return out, nil
}

// find returns the entry of a kind.
func find(list []upstreamData, kind string) (upstreamData, bool) {
	at := slices.IndexFunc(list, func(d upstreamData) bool { return d.Kind == kind })
	if at < 0 {
		return upstreamData{}, false
	}
	return list[at], true
}

// opened is an upstream's document being read.
type opened struct {
	io.Reader
	name  string
	close []func()
}

func (o *opened) Close() {
	for _, c := range slices.Backward(o.close) {
		c()
	}
}

// wrong says of what is in the document that it can't be used.
func (o *opened) wrong(err error) error {
	if errors.Is(err, formats.ErrUpstream) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %s: %s", formats.ErrUpstream, o.name, err.Error())
}

// open opens a document that repomd.xml lists, and undoes its compression.
func open(ctx context.Context, scope string, d upstreamData, src formats.Source) (*opened, error) {
	sums, err := d.sums()
	if err != nil {
		return nil, err
	}
	if err := formats.CheckPath(d.Location.Href); err != nil {
		return nil, fmt.Errorf("%w: repomd.xml: %s", formats.ErrUpstream, err.Error())
	}
	r, err := src.Open(ctx, formats.Join(dirOf(scope), d.Location.Href), sums)
	if err != nil {
		return nil, err
	}
	o := &opened{name: d.Location.Href, close: []func(){func() { r.Close() }}} //nolint:errcheck // only read
	if err := o.unpack(r); err != nil {
		o.Close()
		return nil, o.wrong(err)
	}
	o.Reader = formats.Limit(o.Reader, maxMetadata, "metadata")
	return o, nil
}

func (o *opened) unpack(r io.Reader) error {
	z, err := formats.Decompress(path.Ext(o.name), r)
	if err != nil {
		return err
	}
	o.Reader, o.close = z, append(o.close, func() { z.Close() }) //nolint:errcheck // only read
	return nil
}

// elements reads the packages of a document one by one.
type elements struct {
	*opened
	dec    *xml.Decoder
	budget *budget
}

// budget fails a reader that gives more than left bytes: a package may not have
// more, whatever elements it has them in.
type budget struct {
	r    io.Reader
	left int64
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("a package has more than %d bytes", maxDescription)
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

func newElements(o *opened) *elements {
	b := &budget{r: o, left: maxDescription}
	return &elements{opened: o, dec: xml.NewDecoder(b), budget: b}
}

// next reads the next package into to, io.EOF after the last.
func (e *elements) next(to any) error {
	for {
		e.budget.left = maxDescription
		t, err := e.dec.Token()
		if err == io.EOF { //nolint:errorlint // plain by contract
			return io.EOF
		}
		if err != nil {
			return e.wrong(err)
		}
		start, ok := t.(xml.StartElement)
		if !ok || start.Name.Local != "package" {
			continue
		}
		if err := e.dec.DecodeElement(to, &start); err != nil {
			return e.wrong(err)
		}
		return nil
	}
}

// parsePackages reads the three documents in lockstep.
func parsePackages(ctx context.Context, scope string, list []upstreamData, src formats.Source) ([]formats.Record, error) {
	d, ok := find(list, "primary")
	if !ok {
		return nil, fmt.Errorf("%w: repomd.xml lists no primary metadata", formats.ErrUpstream)
	}
	o, err := open(ctx, scope, d, src)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	files, err := beside[xmlFiles](ctx, scope, "filelists", list, src)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	changes, err := beside[xmlChanges](ctx, scope, "other", list, src)
	if err != nil {
		return nil, err
	}
	defer changes.Close()
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	defer c.close()
	var recs []formats.Record
	for primary := newElements(o); ; {
		var x xmlPackage
		err := primary.next(&x)
		if err == io.EOF { //nolint:errorlint // plain by contract
			return recs, nil
		}
		if err != nil {
			return nil, err
		}
		f, err := files.of(x.Checksum.Value)
		if err != nil {
			return nil, err
		}
		ch, err := changes.of(x.Checksum.Value)
		if err != nil {
			return nil, err
		}
		if recs, err = appendPackage(recs, scope, &x, f, ch, c); err != nil {
			return nil, err
		}
	}
}

// xmlLocation is where a package lies, as seen from a root.
type xmlLocation struct {
	Href string `xml:"href,attr"`
	Base string `xml:"http://www.w3.org/XML/1998/namespace base,attr"`
}

// under is the path in the upstream; false for what lies elsewhere.
func (l xmlLocation) under(root string) (string, bool) {
	if l.Href == "" || l.Base != "" || strings.HasPrefix(l.Href, "/") || strings.Contains(l.Href, "//") {
		return "", false
	}
	at := path.Join(root, l.Href)
	return at, formats.CheckPath(at) == nil && !inRepodata(at)
}

// appendPackage adds the pointers to a package. What no repository can list is
// left out: names that are none, and packages that lie elsewhere.
func appendPackage(recs []formats.Record, scope string, x *xmlPackage, files xmlFiles, changes xmlChanges, c *codec) ([]formats.Record, error) {
	at, ok := x.Location.under(dirOf(scope))
	id, err := hex.DecodeString(x.Checksum.Value)
	if err != nil || len(id) < 16 || !ok || algorithms[x.Checksum.Type] == "" {
		return recs, nil //nolint:nilerr // left out
	}
	p := x.pkg(files, changes)
	if p.check() != nil || formats.CheckSegment(path.Base(p.pointerName())) != nil {
		return recs, nil
	}
	parts := p.fragments(sum{x.Checksum.Type, x.Checksum.Value}, x.Size.Package)
	first, rest, err := c.pack(id, &parts)
	if errors.Is(err, formats.ErrBadPackage) {
		return recs, nil
	}
	if err != nil {
		return nil, err
	}
	s := stored{Name: p.pointerName(), Pieces: len(rest), ID: id}
	names := s.names()
	since := p.published()
	recs = append(recs, formats.Record{Scope: scope, Name: names[0], Path: at, Move: true, Meta: first, Time: since})
	for i, m := range rest {
		recs = append(recs, formats.Record{Scope: scope, Name: names[i+1], Move: true, Meta: m, Time: since})
	}
	return recs, nil
}

// published is when a package came to the upstream, by what its metadata tells:
// the time of the file there, and not before it was built.
func (p *pkg) published() time.Time {
	if at := max(p.changed, p.built); at > 0 && at < 1<<40 {
		return time.Unix(int64(at), 0).UTC()
	}
	return time.Time{}
}
