package yum

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"granary/formats"
)

// Limits of what a package says of itself. rpm allows 256 MiB of header; the
// longest that distributions publish have some 10.
const (
	maxSignature = 8 << 20
	maxHeader    = 32 << 20
	maxEntries   = 1 << 16
	maxValues    = 2 << 20 // that are looked at, all tags together
)

func badPackage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// The parts of a package before its payload (RPM V3, V4 and V6 alike).
const (
	leadSize  = 96
	introSize = 16 // of a header: magic, reserved, number of entries, length of the store
	entrySize = 16
)

// Types of entries.
const (
	typeInt8      = 2
	typeInt16     = 3
	typeInt32     = 4
	typeInt64     = 5
	typeString    = 6
	typeBinary    = 7
	typeStrings   = 8
	typeI18N      = 9
	headerMagic   = 0x8eade801
	leadMagic     = 0xedabeedb
	leadSource    = 1
	leadTypeBytes = 6 // offset of the type in the lead
)

// header is one of the two headers of a package: what it says by tag.
type header struct {
	raw     []byte // intro, index and store
	entries map[uint32]entry
	values  int // read so far
}

// entry is a value. data begins with it and may go on behind it.
type entry struct {
	kind, count uint32
	data        []byte
}

// headers are what stands before the payload.
type headers struct {
	source          bool // the lead says so
	signature, main *header
	start, end      int64 // of the main header in the file
}

// readHeaders reads everything before the payload, and no byte more. What is no
// package is an ErrBadPackage, other errors are those of r. It takes memory for
// what has arrived, not for what the package says is to come.
func readHeaders(r io.Reader) (*headers, error) {
	var lead [leadSize]byte
	if err := readFull(r, lead[:]); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(lead[:]) != leadMagic {
		return nil, badPackage("it is no RPM package: it does not begin with %x", leadMagic)
	}
	h := &headers{source: binary.BigEndian.Uint16(lead[leadTypeBytes:]) == leadSource}
	var err error
	if h.signature, err = readHeader(r, maxSignature, "signature header"); err != nil {
		return nil, err
	}
	// The next one begins at a multiple of 8.
	n := len(h.signature.raw)
	pad := (8 - n%8) % 8
	if err := readFull(r, make([]byte, pad)); err != nil {
		return nil, err
	}
	h.start = leadSize + int64(n+pad)
	if h.main, err = readHeader(r, maxHeader, "header"); err != nil {
		return nil, err
	}
	h.end = h.start + int64(len(h.main.raw))
	return h, nil
}

func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // those of ReadFull; a wrapped one is the reader's own
		return badPackage("it ends within its headers")
	}
	return err
}

func readHeader(r io.Reader, limit int, what string) (*header, error) {
	var intro [introSize]byte
	if err := readFull(r, intro[:]); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(intro[:]) != headerMagic {
		return nil, badPackage("its %s does not begin with %x", what, headerMagic)
	}
	entries, store := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if entries > maxEntries || int64(store)+int64(entries)*entrySize > int64(limit) {
		return nil, badPackage("its %s has %d entries and %d bytes, at most %d and %d are possible", what, entries, store, maxEntries, limit)
	}
	size := int64(entries)*entrySize + int64(store)
	var raw bytes.Buffer
	raw.Write(intro[:])
	if n, err := io.CopyN(&raw, r, size); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, badPackage("it ends after %d of the %d bytes of its %s", n, size, what)
		}
		return nil, err
	}
	return parseHeader(raw.Bytes(), int(entries), what)
}

func parseHeader(raw []byte, entries int, what string) (*header, error) {
	h := &header{raw: raw, entries: make(map[uint32]entry, entries)}
	index, store := raw[introSize:introSize+entries*entrySize], raw[introSize+entries*entrySize:]
	for ; len(index) > 0; index = index[entrySize:] {
		tag, offset := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[8:])
		e := entry{kind: binary.BigEndian.Uint32(index[4:]), count: binary.BigEndian.Uint32(index[12:])}
		if int64(offset) > int64(len(store)) {
			return nil, badPackage("tag %d of its %s lies at byte %d of %d", tag, what, offset, len(store))
		}
		e.data = store[offset:]
		if width := widths[e.kind]; width > 0 && int64(e.count)*int64(width) > int64(len(e.data)) {
			return nil, badPackage("tag %d of its %s has %d values, which do not fit", tag, what, e.count)
		}
		if _, again := h.entries[tag]; !again {
			h.entries[tag] = e
		}
	}
	return h, nil
}

var widths = map[uint32]int{typeInt8: 1, typeInt16: 2, typeInt32: 4, typeInt64: 8, typeBinary: 1}

// count bounds the memory that values take: tags may share their bytes.
func (h *header) count(n uint32) error {
	if int64(n) > maxValues || h.values+int(n) > maxValues {
		return badPackage("its header has more than %d values", maxValues)
	}
	h.values += int(n)
	return nil
}

func (h *header) has(tag uint32) bool {
	_, ok := h.entries[tag]
	return ok
}

// strings returns a value of one or more strings, nil if there is none. They
// are made valid UTF-8: Latin-1 is what old packages have instead.
func (h *header) strings(tag uint32) ([]string, error) {
	e, ok := h.entries[tag]
	if !ok {
		return nil, nil
	}
	n := e.count
	switch e.kind {
	case typeString:
		n = 1
	case typeStrings, typeI18N:
	default:
		return nil, badPackage("tag %d is no text", tag)
	}
	if err := h.count(n); err != nil {
		return nil, err
	}
	out := make([]string, 0, n)
	for data := e.data; uint32(len(out)) < n; { //nolint:gosec // at most n
		at := bytes.IndexByte(data, 0)
		if at < 0 {
			return nil, badPackage("tag %d is cut off", tag)
		}
		out = append(out, utf8Of(data[:at]))
		data = data[at+1:]
	}
	return out, nil
}

// utf8Of reads what is not UTF-8 as Latin-1.
func utf8Of(b []byte) string {
	s := string(b)
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// text returns the first string of a value, "" without one.
func (h *header) text(tag uint32) (string, error) {
	all, err := h.strings(tag)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// numbers returns a value of integers of any width, nil if there is none.
func (h *header) numbers(tag uint32) ([]uint64, error) {
	e, ok := h.entries[tag]
	if !ok {
		return nil, nil
	}
	if err := h.count(e.count); err != nil {
		return nil, err
	}
	out := make([]uint64, e.count)
	for i := range out {
		switch e.kind {
		case typeInt8:
			out[i] = uint64(e.data[i])
		case typeInt16:
			out[i] = uint64(binary.BigEndian.Uint16(e.data[2*i:]))
		case typeInt32:
			out[i] = uint64(binary.BigEndian.Uint32(e.data[4*i:]))
		case typeInt64:
			out[i] = binary.BigEndian.Uint64(e.data[8*i:])
		default:
			return nil, badPackage("tag %d is no number", tag)
		}
	}
	return out, nil
}

// number returns the first value found under the tags, 0 without one.
func (h *header) number(tags ...uint32) (uint64, error) {
	for _, tag := range tags {
		all, err := h.numbers(tag)
		if err != nil {
			return 0, err
		}
		if len(all) > 0 {
			return all[0], nil
		}
	}
	return 0, nil
}

// binary returns a value of bytes, nil if there is none.
func (h *header) binary(tag uint32) []byte {
	e, ok := h.entries[tag]
	if !ok || e.kind != typeBinary {
		return nil
	}
	return e.data[:e.count]
}
