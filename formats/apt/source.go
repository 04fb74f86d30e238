package apt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"granary/digest"
	"granary/formats"
)

// listed is a line of Files or Checksums-*.
type listed struct {
	name string
	size int64
	sum  string // hex
}

// sourcePackage reads a .dsc (dsc(5)) and finds the files that it names among
// those of the upload and of the pool.
func sourcePackage(ctx context.Context, f uploaded, files []uploaded, d destination, tx formats.Tx) (batch, error) {
	p, err := readDsc(f.Blob)
	if err != nil {
		return batch{}, err
	}
	name, version := p.get("Source"), p.get("Version")
	if !packageName.MatchString(name) || !versionText.MatchString(version) {
		return batch{}, badPackage("it is called %.150q in version %.250q, which is not possible", name, version)
	}
	if want := name + "_" + withoutEpoch(version) + ".dsc"; f.name != want {
		return batch{}, badPackage("it has to be called %s", want)
	}
	parts, err := parseList(p.get("Checksums-Sha256"), digest.SHA256)
	if err != nil {
		return batch{}, err
	}
	if len(parts) == 0 {
		return batch{}, badPackage("it has no Checksums-Sha256")
	}
	dir := poolDir(d.component(), name)
	coordinates := pooled{Component: d.component(), Arch: archSource, Package: name, Version: version}
	b, err := coordinates.batch(formats.Record{Scope: dir, Name: f.name, Type: typeText}, f.Blob, sourceStanza(p, f, dir), nil)
	if err != nil {
		return batch{}, err
	}
	for _, part := range parts {
		blob, err := findPart(ctx, part, dir, files, tx)
		if err != nil {
			return batch{}, err
		}
		if blob != nil {
			b.files = append(b.files, formats.Record{Scope: dir, Name: part.name, Type: typeOctets})
			b.blobs = append(b.blobs, blob)
		}
	}
	return b, nil
}

// readDsc reads the paragraph of a .dsc, signed or not.
func readDsc(b formats.Blob) (paragraph, error) {
	if b.Size() > maxStanza {
		return nil, badPackage("it has %d bytes, at most %d are possible", b.Size(), maxStanza)
	}
	text := make([]byte, b.Size())
	if _, err := b.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read it: %w", err)
	}
	p, err := newParagraphs(bytes.NewReader(unsigned(text))).next()
	if err != nil {
		return nil, badPackage("it can't be read: %v", err)
	}
	return p, nil
}

// unsigned takes the cleartext signature framework from around a text, without
// verifying it.
func unsigned(text []byte) []byte {
	const begin, signature = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
	if !bytes.HasPrefix(text, []byte(begin)) {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	_, text, _ = bytes.Cut(text, []byte("\n\n")) // headers of the armor
	text, _, _ = bytes.Cut(text, []byte("\n"+signature))
	var out []byte
	for line := range bytes.Lines(append(text, '\n')) {
		out = append(out, bytes.TrimPrefix(line, []byte("- "))...)
	}
	return out
}

// parseList reads "<sum> <size> <name>", a line each.
func parseList(text string, a digest.Algorithm) ([]listed, error) {
	var out []listed
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 || len(out) == maxFiles {
			return nil, badPackage("its list of files has the line %.150q", line)
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if _, sumErr := digest.ParseHex(a, words[0]); err != nil || size < 0 || sumErr != nil || formats.CheckSegment(words[2]) != nil || strings.HasPrefix(words[2], ":") {
			return nil, badPackage("its list of files has the line %.150q", line)
		}
		out = append(out, listed{name: words[2], size: size, sum: strings.ToLower(words[0])})
	}
	return out, nil
}

// findPart returns the bytes of a file of a source package, nil if the pool has
// them already.
func findPart(ctx context.Context, part listed, dir string, files []uploaded, tx formats.Tx) (formats.Blob, error) {
	at := slices.IndexFunc(files, func(f uploaded) bool { return f.name == part.name })
	sum, size := "", int64(0)
	if at >= 0 {
		sum, size = files[at].Sums().Hex(digest.SHA256), files[at].Size()
	} else {
		rec, err := tx.Record(ctx, dir, part.name)
		if errors.Is(err, formats.ErrNotFound) {
			return nil, badPackage("it names %s, which is neither in the upload nor in %s", part.name, dir)
		}
		if err != nil {
			return nil, fmt.Errorf("look up %s/%s: %w", dir, part.name, err)
		}
		sum, size = hex.EncodeToString(rec.Sums.SHA256), rec.Size
	}
	if sum != part.sum || size != part.size {
		return nil, badPackage("%s is not what it names: %d bytes of SHA-256 %s", part.name, part.size, part.sum)
	}
	if at < 0 {
		return nil, nil //nolint:nilnil // nothing has to be stored
	}
	return files[at].Blob, nil
}

// sourceStanza is the stanza of Sources: the fields of the .dsc, with itself
// among its files.
func sourceStanza(p paragraph, f uploaded, dir string) []byte {
	own := func(a digest.Algorithm) string {
		return fmt.Sprintf("\n %s %d %s", f.Sums().Hex(a), f.Size(), f.name)
	}
	out := paragraph{{"Package", p.get("Source")}}
	for _, x := range p.without("Source", "Package", "Directory", "Checksums-Sha1", "Checksums-Sha512") {
		switch {
		case strings.EqualFold(x.name, "Files"):
			x.value = own(digest.MD5) + leading(x.value)
		case strings.EqualFold(x.name, "Checksums-Sha256"):
			x.value = own(digest.SHA256) + leading(x.value)
		}
		out = append(out, x)
	}
	return append(out, field{"Directory", dir}).append(nil)
}

// leading puts a list on lines of its own.
func leading(list string) string {
	if list == "" || list[0] == '\n' {
		return list
	}
	return "\n " + list
}
