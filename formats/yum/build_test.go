package yum_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what packages carry
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sort"
	"testing"
	"time"

	"granary/formats/formattest"
	"granary/formats/yum"
)

func format() *yum.Format { return yum.New(func() time.Time { return formattest.Epoch }) }

// Types of entries in a header.
const (
	tInt16 = 3
	tInt32 = 4
	tInt64 = 5
	tText  = 6
	tBytes = 7
	tTexts = 8
)

// rpmHeader builds a header: tags with values of the types that its methods
// say.
type rpmHeader struct{ entries []rpmEntry }

type rpmEntry struct {
	tag, kind, count uint32
	data             []byte
}

func (h *rpmHeader) add(tag, kind uint32, count int, data []byte) {
	h.entries = append(h.entries, rpmEntry{tag, kind, uint32(count), data})
}

func (h *rpmHeader) text(tag uint32, s string) { h.add(tag, tText, 1, append([]byte(s), 0)) }

func (h *rpmHeader) texts(tag uint32, all ...string) {
	var b []byte
	for _, s := range all {
		b = append(append(b, s...), 0)
	}
	h.add(tag, tTexts, len(all), b)
}

func (h *rpmHeader) int32s(tag uint32, all ...uint32) {
	var b []byte
	for _, n := range all {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	h.add(tag, tInt32, len(all), b)
}

func (h *rpmHeader) int16s(tag uint32, all ...uint16) {
	var b []byte
	for _, n := range all {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	h.add(tag, tInt16, len(all), b)
}

func (h *rpmHeader) bytes() []byte {
	sort.SliceStable(h.entries, func(i, j int) bool { return h.entries[i].tag < h.entries[j].tag })
	var index, store []byte
	for _, e := range h.entries {
		width := map[uint32]int{tInt16: 2, tInt32: 4, tInt64: 8}[e.kind]
		for width > 0 && len(store)%width != 0 {
			store = append(store, 0)
		}
		for _, n := range []uint32{e.tag, e.kind, uint32(len(store)), e.count} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		store = append(store, e.data...)
	}
	out := []byte{0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(len(h.entries)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	return append(append(out, index...), store...)
}

// rpm is a package to build.
type rpm struct {
	name, version, release, arch string
	epoch                        uint32
	built                        uint32 // 0: at some time
	payload                      string
	source                       bool
	more                         func(h *rpmHeader)
	noSums                       bool
	v6                           bool
}

func (r rpm) header() *rpmHeader {
	h := &rpmHeader{}
	h.text(1000, r.name)
	h.text(1001, r.version)
	h.text(1002, r.release)
	if r.epoch > 0 {
		h.int32s(1003, r.epoch)
	}
	h.text(1004, "Short text of "+r.name)
	h.text(1005, "Long text,\nwith <two> lines.")
	h.int32s(1006, max(r.built, 1764064000))
	h.text(1007, "build.example.com")
	h.int32s(1009, 1234)
	h.text(1014, "MIT")
	h.text(1022, r.arch)
	if r.source {
		h.int32s(1106, 1)
	} else {
		h.text(1044, r.name+"-"+r.version+"-"+r.release+".src.rpm")
	}
	if r.more != nil {
		r.more(h)
	}
	return h
}

func (r rpm) build() []byte {
	h := r.header()
	payload := sha256.Sum256([]byte(r.payload))
	if !r.noSums {
		h.texts(5092, hex.EncodeToString(payload[:]))
		if !r.v6 {
			h.int32s(5093, 8)
		}
	}
	if r.v6 {
		h.int32s(5112, uint32(len(r.payload)))
		h.int32s(5113, uint32(len(r.payload)*3))
		h.int32s(5114, 6)
	}
	main := h.bytes()
	sig := &rpmHeader{}
	sum := sha256.Sum256(main)
	sig.text(273, hex.EncodeToString(sum[:]))
	if !r.v6 {
		both := md5.Sum(append(bytes.Clone(main), r.payload...)) //nolint:gosec // as above
		sig.add(1004, tBytes, 16, both[:])
		sig.int32s(1007, uint32(len(r.payload)*3))
	}
	lead := make([]byte, 96)
	copy(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0})
	if r.source {
		lead[7] = 1
	}
	s := sig.bytes()
	for len(s)%8 != 0 {
		s = append(s, 0)
	}
	return append(append(append(lead, s...), main...), r.payload...)
}

// hello is a small package, of which text makes the bytes its own.
func hello(n int, text string) rpm {
	return rpm{name: "hello", version: fmt.Sprintf("1.%d", n), release: "1", arch: "x86_64", payload: "payload " + text}
}

func pathOf(r rpm) string {
	return fmt.Sprintf("Packages/%s-%s-%s.%s.rpm", r.name, r.version, r.release, r.arch)
}

var _ testing.TB
