package apt

import (
	"fmt"
	"iter"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"granary/formats"
)

var _ formats.Announcer = (*Format)(nil)

// Limits of what pointers hold, in bytes; their records stay below 256 KiB.
const (
	maxStanza = 180 << 10
	filesStep = 180 << 10 // of names, before compression
)

// pooled is the Meta of a package's file: what its pointers are called.
type pooled struct {
	Component string `cbor:"1,keyasint"`
	Arch      string `cbor:"2,keyasint"`
	Package   string `cbor:"3,keyasint"`
	Version   string `cbor:"4,keyasint"`
	Lists     int    `cbor:"5,keyasint,omitempty"` // pointers that hold names of files
}

// names returns those of the pointers within a distribution.
func (p pooled) names() []string {
	out := []string{p.name()}
	for i := range p.Lists {
		out = append(out, p.list(i))
	}
	return out
}

// name is the pointer that holds the stanza. That of version 1.0 sorts right
// before those that list its files: no version has a comma.
func (p pooled) name() string {
	return p.Component + "/" + p.Arch + "/" + p.Package + "/:" + p.Version
}

func (p pooled) list(i int) string { return fmt.Sprintf("%s,%03d", p.name(), i) }

// sectionMark is the last segment of what keeps a section in a distribution
// that has no package in it.
const sectionMark = ":section"

// fieldsMark holds the fields of Release that a client has set; of an upstream's
// distribution those that say that apt is not to upgrade to it by itself, such as
// backports: who merges it says so, too. It sorts before every section.
const fieldsMark = "!/:manual"

// manualFields are those of Release files that say so.
var manualFields = []string{"NotAutomatic", "ButAutomaticUpgrades"}

// marked is the section that a name keeps.
func marked(name string) (component, arch string, ok bool) {
	section, ok := strings.CutSuffix(name, "/"+sectionMark)
	component, arch, two := strings.Cut(section, "/")
	return component, arch, ok && two && !strings.Contains(arch, "/")
}

// Announces are the distribution that a pointer is in and its section there.
func (*Format) Announces(scope, name string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		dist, ok := strings.CutPrefix(scope, dists+"/")
		component, arch, _, _, pointer := pointed(name)
		if ok && pointer && yield(dists, ":"+dist) {
			yield(scope, component+"/"+arch+"/"+sectionMark)
		}
	}
}

// pointed takes the name of a pointer apart; list tells that it holds names of
// files. ok is false for names of another kind.
func pointed(name string) (component, arch, pkg string, list, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || !strings.HasPrefix(parts[3], ":") {
		return "", "", "", false, false
	}
	return parts[0], parts[1], parts[2], strings.Contains(parts[3], ","), true
}

func encode(p pooled) ([]byte, error) {
	b, err := cbor.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode what is known of %s: %w", p.Package, err)
	}
	return b, nil
}

func decode(rec formats.Record) (pooled, error) {
	var p pooled
	if err := cbor.Unmarshal(rec.Meta, &p); err != nil {
		return p, fmt.Errorf("%w: what is known of %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	return p, nil
}

// packFiles compresses names, a line each, in pieces that fit into records.
func packFiles(files []string) ([][]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("compress names of files: %w", err)
	}
	defer enc.Close() //nolint:errcheck // EncodeAll has no state
	var out [][]byte
	var buf []byte
	for i, f := range files {
		buf = append(append(buf, f...), '\n')
		if i == len(files)-1 || len(buf)+len(files[i+1]) >= filesStep {
			out = append(out, enc.EncodeAll(buf, nil))
			buf = buf[:0]
		}
	}
	return out, nil
}

// unpackFiles is the other way.
func unpackFiles(dec *zstd.Decoder, packed []byte) ([]string, error) {
	b, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: names of files: %w", formats.ErrCorrupt, err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), nil
}
