package kv_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"granary/kv"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// Old and new are one record as two releases know it.
type oldPart struct {
	kv.Extra `cbor:"-"`
	Name     string `cbor:"1,keyasint,omitempty"`
}

type oldRecord struct {
	kv.Extra `cbor:"-"`
	Size     int64              `cbor:"1,keyasint,omitempty"`
	Part     oldPart            `cbor:"2,keyasint,omitempty"`
	Parts    []oldPart          `cbor:"3,keyasint,omitempty"`
	Named    map[string]oldPart `cbor:"4,keyasint,omitempty"`
	Pointer  *oldPart           `cbor:"5,keyasint,omitempty"`
	Self     *oldRecord         `cbor:"6,keyasint,omitempty"`
}

type newPart struct {
	kv.Extra `cbor:"-"`
	Name     string `cbor:"1,keyasint,omitempty"`
	Color    string `cbor:"-1,keyasint,omitempty"`
}

type newRecord struct {
	kv.Extra `cbor:"-"`
	Size     int64              `cbor:"1,keyasint,omitempty"`
	Part     newPart            `cbor:"2,keyasint,omitempty"`
	Parts    []newPart          `cbor:"3,keyasint,omitempty"`
	Named    map[string]newPart `cbor:"4,keyasint,omitempty"`
	Pointer  *newPart           `cbor:"5,keyasint,omitempty"`
	Self     *newRecord         `cbor:"6,keyasint,omitempty"`
	Labels   map[string]string  `cbor:"7,keyasint,omitempty"`
	When     time.Time          `cbor:"300,keyasint,omitzero"`
	Text     string             `cbor:"text,omitempty"`
}

func full() newRecord {
	return newRecord{
		Size:    7,
		Part:    newPart{Name: "p", Color: "red"},
		Parts:   []newPart{{Name: "a"}, {Name: "b", Color: "blue"}},
		Named:   map[string]newPart{"x": {Color: "green"}, "y": {Name: "plain"}},
		Pointer: &newPart{Color: "white"},
		Self:    &newRecord{Text: "inner", Size: 3},
		Labels:  map[string]string{"k": "v", "a": "b"},
		When:    time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Text:    "outer",
	}
}

func TestUnknownFieldsSurviveRewrite(t *testing.T) {
	written := marshal(t, full())
	var old oldRecord
	unmarshal(t, written, &old)
	if old.Size != 7 || old.Parts[1].Name != "b" || old.Self.Size != 3 {
		t.Fatalf("known fields lost: %+v", old)
	}
	if got := marshal(t, old); !bytes.Equal(got, written) {
		t.Errorf("unchanged record rewritten as\n%x, want\n%x", got, written)
	}
	old.Size, old.Parts[1].Name = 8, "c"
	want := full()
	want.Size, want.Parts[1].Name = 8, "c"
	var got newRecord
	unmarshal(t, marshal(t, &old), &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after a rewrite by an old node (-want +got):\n%s", diff)
	}
}

func TestKnownRecordsRoundTrip(t *testing.T) {
	var got newRecord
	unmarshal(t, marshal(t, full()), &got)
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	for range 20 {
		if !bytes.Equal(marshal(t, full()), marshal(t, got)) {
			t.Fatal("encoding is not deterministic")
		}
	}
}

// Whatever can be written can be read: a record that an odd byte of a stranger's
// makes unreadable is lost, and all that is read along with it.
func TestTextThatIsNotUTF8(t *testing.T) {
	want := newRecord{Text: "caf\xe9", Parts: []newPart{{Color: "\xff"}}}
	var got newRecord
	unmarshal(t, marshal(t, want), &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	var old oldRecord
	unmarshal(t, marshal(t, want), &old)
	if !bytes.Equal(marshal(t, old), marshal(t, want)) {
		t.Error("a rewrite by an old node changed the record")
	}
}

func TestExtraIsComparedAndCopied(t *testing.T) {
	var a, b, plain oldPart
	unmarshal(t, marshal(t, newPart{Color: "red"}), &a)
	unmarshal(t, marshal(t, newPart{Color: "blue"}), &b)
	unmarshal(t, marshal(t, newPart{}), &plain)
	if c := a; !c.Extra.Equal(a.Extra) || a.Extra.Equal(b.Extra) || !plain.Extra.Equal(kv.Extra{}) {
		t.Errorf("extras %v %v %v compare wrongly", a, b, plain)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x81}, 100), 0)
	tests := map[string][]byte{
		"empty":               {},
		"truncated":           {0xa1, 0x01},
		"trailing":            {0xa0, 0xa0},
		"wrong type":          {0xa1, 0x01, 0x61, 'x'},
		"not a map":           {0x01},
		"duplicate field":     {0xa2, 0x01, 0x01, 0x01, 0x02},
		"duplicate unknown":   {0xa2, 0x18, 0x63, 0x01, 0x18, 0x63, 0x02},
		"indefinite":          {0xbf, 0xff},
		"tag":                 {0xa1, 0x01, 0xc1, 0x01},
		"deep unknown":        append([]byte{0xa1, 0x18, 0x63}, deep...),
		"claims 4 G elements": {0xa1, 0x03, 0x9a, 0xff, 0xff, 0xff, 0xff},
		"claims 2^63 entries": {0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0},
		"key is an array":     {0xa1, 0x80, 0x01},
		"trailing in slow":    {0xa1, 0x18, 0x63, 0x01, 0x00},
		"type error in slow":  {0xa2, 0x18, 0x63, 0x01, 0x01, 0x61, 'x'},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			var r oldRecord
			if err := kv.Unmarshal(data, &r); err == nil {
				t.Errorf("Unmarshal(%x) gave %+v, want an error", data, r)
			}
		})
	}
	if err := kv.Unmarshal([]byte{0xa0}, oldRecord{}); err == nil {
		t.Error("Unmarshal into a non-pointer: want an error")
	}
	if err := kv.Unmarshal([]byte{0xa0}, nil); err == nil {
		t.Error("Unmarshal into nil: want an error")
	}
	if _, err := kv.Marshal(make(chan int)); err == nil {
		t.Error("Marshal of a channel: want an error")
	}
}

// A longer spelling of a known key must not make a second entry of it.
func TestOddlySpelledKeys(t *testing.T) {
	var r oldRecord
	unmarshal(t, []byte{0xa2, 0x18, 0x01, 0x05, 0x18, 0x63, 0x06}, &r)
	if r.Size != 5 {
		t.Fatalf("size %d, want 5", r.Size)
	}
	want := []byte{0xa2, 0x01, 0x05, 0x18, 0x63, 0x06}
	if got := marshal(t, r); !bytes.Equal(got, want) {
		t.Errorf("rewritten as %x, want %x", got, want)
	}
}

func TestMarshalNil(t *testing.T) {
	if got := marshal(t, (*oldRecord)(nil)); !bytes.Equal(got, []byte{0xf6}) {
		t.Errorf("nil is %x", got)
	}
	if got := marshal(t, nil); !bytes.Equal(got, []byte{0xf6}) {
		t.Errorf("nil is %x", got)
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := kv.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unmarshal(t testing.TB, data []byte, v any) {
	t.Helper()
	if err := kv.Unmarshal(data, v); err != nil {
		t.Fatalf("%x: %v", data, err)
	}
}

// FuzzUnmarshal holds that whatever decodes is kept by a rewrite, unknown
// fields included, and that a second rewrite changes nothing.
func FuzzUnmarshal(f *testing.F) {
	f.Add(marshal(f, full()))
	f.Add(marshal(f, newRecord{}))
	f.Add([]byte{0xa2, 0x18, 0x01, 0x05, 0x18, 0x63, 0x06})
	f.Add([]byte{0xa1, 0x05, 0xf6})
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second oldRecord
		if kv.Unmarshal(data, &first) != nil {
			return
		}
		once, err := kv.Marshal(first)
		if err != nil {
			t.Skip(err) // such as a nesting that only the decoder counts differently
		}
		if err := kv.Unmarshal(once, &second); err != nil {
			t.Fatalf("%x was rewritten as %x: %v", data, once, err)
		}
		if twice := marshal(t, second); !bytes.Equal(once, twice) {
			t.Fatalf("%x was rewritten as %x, then as %x", data, once, twice)
		}
		var before, after map[any]any
		if cbor.Unmarshal(data, &before) != nil {
			return
		}
		if err := cbor.Unmarshal(once, &after); err != nil {
			t.Fatal(err)
		}
		for k := range before {
			if n, ok := k.(uint64); ok && n <= 6 {
				continue // known: may be empty and left out
			}
			if _, ok := after[k]; !ok {
				t.Fatalf("%x lost key %v in %x", data, k, once)
			}
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	r := full()
	r.Self = nil
	b.ReportAllocs()
	for b.Loop() {
		marshal(b, &r)
	}
}

type flat struct {
	kv.Extra `cbor:"-"`
	Size     int64    `cbor:"1,keyasint,omitempty"`
	Hash     [32]byte `cbor:"2,keyasint"`
	Blob     string   `cbor:"3,keyasint,omitempty"`
	Content  []byte   `cbor:"4,keyasint,omitempty"`
}

func BenchmarkFlat(b *testing.B) {
	r := flat{Size: 1 << 20, Blob: strings.Repeat("x", 26), Content: make([]byte, 1024)}
	data := marshal(b, &r)
	b.Run("Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			marshal(b, &r)
		}
	})
	b.Run("Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r flat
			unmarshal(b, data, &r)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r flat
			if err := cbor.Unmarshal(data, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
