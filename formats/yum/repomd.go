package yum

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strconv"
	"strings"

	"granary/digest"
	"granary/formats"
)

// data is an entry of repomd.xml.
type data struct {
	kind, path string
	doc        formats.Document
	openSum    string // of what the document is when it is not compressed; "" for one that is not
	openSize   int64
}

// measured counts what passes.
type measured struct {
	w *bufio.Writer
	n int64
}

func (m *measured) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	m.n += int64(n)
	return n, err
}

// listed puts a document on the list, under a name with its digest.
func (m *metadata) listed(d data) error {
	var err error
	if d.doc, err = m.pub.Document(d.path); err != nil {
		return err
	}
	named := d.doc.Sums().Hex(digest.SHA256) + "-" + d.path
	if err := m.pub.Link(d.path, named); err != nil {
		return err
	}
	d.path = named
	m.list = append(m.list, d)
	return nil
}

// entry writes repomd.xml, its signature and the key to verify it with.
func (m *metadata) entry() error {
	signer, err := m.pub.Signer()
	if err != nil {
		return err
	}
	text := m.repomd()
	signature, err := signer.Detached(strings.NewReader(text))
	if err != nil {
		return err
	}
	if err := writeKey(m.pub); err != nil {
		return err
	}
	if err := create(m.pub, repomdSig, typeSignature, signature); err != nil {
		return err
	}
	if err := create(m.pub, repomd, typeXML, []byte(text)); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(text))
	for _, name := range []string{repomd, repomdSig, repomdKey} {
		if err := m.pub.Link(name, ofGeneration(hex.EncodeToString(sum[:]), name)); err != nil {
			return err
		}
	}
	return nil
}

func (m *metadata) repomd() string {
	var b build
	b.raw(xmlHead)
	b.raw(`<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">` + "\n")
	b.element("revision", strconv.FormatInt(m.now.Unix(), 10))
	for _, d := range m.list {
		b.raw("<data")
		b.attr("type", d.kind)
		b.raw(">\n")
		b.checksum("checksum", d.doc.Sums().Hex(digest.SHA256))
		if d.openSum != "" {
			b.checksum("open-checksum", d.openSum)
		}
		b.raw("<location")
		b.attr("href", path.Join(repodata, d.path))
		b.raw("/>\n")
		b.element("timestamp", strconv.FormatInt(m.now.Unix(), 10))
		b.element("size", strconv.FormatInt(d.doc.Size(), 10))
		if d.openSum != "" {
			b.element("open-size", strconv.FormatInt(d.openSize, 10))
		}
		if strings.HasSuffix(d.kind, "_db") {
			b.element("database_version", databaseVersion)
		}
		b.raw("</data>\n")
	}
	b.raw("</repomd>\n")
	return string(b)
}

func (b *build) checksum(element, sum string) {
	b.raw("<" + element + ` type="sha256">` + sum + "</" + element + ">\n")
}
