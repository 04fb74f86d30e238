package yum

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"granary/formats"
)

// Renderer names what Render writes.
func (*Format) Renderer() string { return "yum5" }

// Render writes all metadata of a root, or what only the keys are needed for.
func (f *Format) Render(ctx context.Context, scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	if scope == keys {
		for _, err := range recs {
			if err != nil {
				return err
			}
		}
		return writeKey(pub)
	}
	m, err := newMetadata(dirOf(scope), f.now(), pub)
	if err != nil {
		return err
	}
	defer m.close()
	for rec, err := range recs {
		if err != nil {
			return err
		}
		if err := m.add(rec); err != nil {
			return err
		}
	}
	return m.finish(ctx)
}

func writeKey(pub formats.Pub) error {
	signer, err := pub.Signer()
	if err != nil {
		return err
	}
	key, err := signer.Public(true)
	if err != nil {
		return err
	}
	return create(pub, repomdKey, typeKey, key)
}

func create(pub formats.Pub, name, mediaType string, data []byte) error {
	w, err := pub.Create(name, mediaType)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// metadata is the rendering of a root: the packages' parts of the three
// documents are collected beside each other, since how many there are stands
// at the beginning of each.
type metadata struct {
	root string
	now  time.Time
	pub  formats.Pub

	codec    *codec
	gathered gather
	plain    []byte // fragments of a package, decoded; used again

	primary, filelists, other collected
	packages                  int
	extras                    map[*extra]*collected

	list []data // of repomd.xml
}

func newMetadata(root string, now time.Time, pub formats.Pub) (*metadata, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	m := &metadata{root: root, now: now.UTC(), pub: pub, codec: c, extras: map[*extra]*collected{}}
	for _, part := range m.parts() {
		if err := part.from.begin(pub); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *metadata) close() {
	m.codec.close()
	for _, part := range m.parts() {
		part.from.close()
	}
	for _, part := range m.extras {
		part.close()
	}
}

// add takes a record.
func (m *metadata) add(rec formats.Record) error {
	if strings.HasPrefix(rec.Name, ":") {
		return nil // a mark
	}
	if x := partOf(rec.Name); x != nil {
		return m.addPart(x, rec)
	}
	done, err := m.gathered.add(rec)
	if err != nil || !done {
		return err
	}
	return m.addPackage()
}

// addPart takes a part of comps or its like.
func (m *metadata) addPart(x *extra, rec formats.Record) error {
	to := m.extras[x]
	if to == nil {
		to = &collected{}
		m.extras[x] = to
		if err := to.begin(m.pub); err != nil {
			return err
		}
	}
	var err error
	if m.plain, err = m.codec.dec.DecodeAll(rec.Meta, m.plain[:0]); err != nil {
		return fmt.Errorf("%w: %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	_, err = to.z.Write(m.plain)
	return err
}

// writeExtras writes comps and its like.
func (m *metadata) writeExtras() error {
	for _, x := range extras {
		from := m.extras[x]
		if from == nil {
			continue
		}
		if err := from.end(); err != nil {
			return err
		}
		write := func(w io.Writer) error { return framed(w, x.head, from, x.tail) }
		if plain := x.kinds[1:]; len(plain) > 0 {
			w, err := m.pub.Create(x.file, typeXML)
			if err != nil {
				return err
			}
			if err := write(w); err != nil {
				return err
			}
			if err := m.listed(data{kind: plain[0], path: x.file}); err != nil {
				return err
			}
		}
		if err := m.compressed(x.kinds[0], x.file, write); err != nil {
			return err
		}
	}
	return nil
}

func (m *metadata) addPackage() error {
	var f fragments
	var err error
	if m.plain, err = m.codec.unpack(m.gathered.packed, m.plain, &f); err != nil {
		return fmt.Errorf("%s: %w", m.gathered.key, err)
	}
	m.packages++
	for _, part := range []struct {
		to   *collected
		data []byte
	}{
		{&m.primary, dated(f.Head, m.gathered.came)},
		{&m.primary, location(relative(m.root, m.gathered.path))},
		{&m.primary, f.Tail},
		{&m.filelists, f.Files},
		{&m.other, f.Other},
	} {
		if _, err := part.to.z.Write(part.data); err != nil {
			return err
		}
	}
	return nil
}

// dated puts the time at which a package came in the place of the file's, which
// what describes the package does not know. Clients and caches with a minimum age
// go by it, and by the date of the download, which has to be the same.
func dated(head []byte, came int64) []byte {
	const mark = `<time file="` // text of the package has no "<"
	at := bytes.Index(head, []byte(mark))
	if at < 0 || came <= 0 {
		return head
	}
	at += len(mark)
	end := at + max(bytes.IndexByte(head[at:], '"'), 0)
	return slices.Concat(head[:at], strconv.AppendInt(nil, came, 10), head[end:])
}

// relative is a path in the repository as seen from a root. Snapshots list
// packages that lie elsewhere; their paths are found below the snapshot too. An
// upstream may have a root beside its packages: from there the way leads up.
func relative(root, p string) string {
	rest, below := strings.CutPrefix(p, root+"/")
	switch {
	case root == "" || strings.HasPrefix(root, snapshots+"/"):
		return p
	case below:
		return rest
	}
	return strings.Repeat("../", strings.Count(root, "/")+1) + p
}

// The beginnings and ends of the three documents.
const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

var frames = map[string][2]string{
	"primary":   {`<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, "</metadata>"},
	"filelists": {`<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="%d">`, "</filelists>"},
	"other":     {`<otherdata xmlns="http://linux.duke.edu/metadata/other" packages="%d">`, "</otherdata>"},
}

// part is one of the three documents: its kind, its middle, and where it stands
// in the list.
type part struct {
	kind string
	from *collected
	at   int
}

func (m *metadata) parts() []part {
	return []part{{"primary", &m.primary, 0}, {"filelists", &m.filelists, 1}, {"other", &m.other, 2}}
}

// finish writes the documents, and last the one that lists them: whoever reads
// it finds everything.
func (m *metadata) finish(ctx context.Context) error {
	if err := m.gathered.end(); err != nil {
		return err
	}
	for _, part := range m.parts() {
		if err := part.from.end(); err != nil {
			return err
		}
		frame := frames[part.kind]
		err := m.compressed(part.kind, part.kind+".xml", func(w io.Writer) error {
			return framed(w, fmt.Sprintf(xmlHead+frame[0]+"\n", m.packages), part.from, frame[1]+"\n")
		})
		if err != nil {
			return err
		}
	}
	if m.pub.Settings().SQLite {
		for _, part := range m.parts() {
			if err := m.database(ctx, part.kind, part.from, m.list[part.at]); err != nil {
				return err
			}
		}
	}
	if err := m.writeExtras(); err != nil {
		return err
	}
	return m.entry()
}

func framed(w io.Writer, head string, middle *collected, tail string) error {
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	r, err := middle.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	_, err = io.WriteString(w, tail)
	return err
}

// compressed writes a document in the compressed form and lists it.
func (m *metadata) compressed(kind, name string, write func(io.Writer) error) error {
	out, name, err := m.create(name)
	if err != nil {
		return err
	}
	z, err := m.compressor(out)
	if err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	plain := &measured{w: bufio.NewWriterSize(z, 64<<10)}
	hashed := sha256.New()
	if err := write(io.MultiWriter(plain, hashed)); err != nil {
		return err
	}
	if err := plain.w.Flush(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return m.listed(data{kind: kind, path: name, openSum: hex.EncodeToString(hashed.Sum(nil)), openSize: plain.n})
}

// create begins a document in the compressed form that the settings say.
func (m *metadata) create(name string) (io.Writer, string, error) {
	name, mediaType := name+".gz", "application/gzip"
	if m.pub.Settings().Zstd {
		name, mediaType = strings.TrimSuffix(name, ".gz")+".zst", "application/zstd"
	}
	w, err := m.pub.Create(name, mediaType)
	return w, name, err
}

func (m *metadata) compressor(w io.Writer) (io.WriteCloser, error) {
	if m.pub.Settings().Zstd {
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return m.pub.Compressor(w, ".gz")
}
