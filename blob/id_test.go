package blob_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"granary/blob"
)

func TestParseID(t *testing.T) {
	id, err := blob.NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for in, ok := range map[string]bool{
		string(id):                      true,
		strings.ToLower(string(id)):     false,
		string(id[1:]):                  false,
		string(id) + "0":                false,
		"":                              false,
		"../../../../../../etc/passwd":  false,
		"01ARZ3NDEKTSV4RRFFQ69G5FA/":    false,
		"01ARZ3NDEKTSV4RRFFQ69G5F\x00V": false,
		"81ARZ3NDEKTSV4RRFFQ69G5FAV":    false, // time beyond 48 bits
		"01ARZ3NDEKTSV4RRFFQ69G5FAI":    false, // I is no letter of ULIDs
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":    true,
		"01ARZ3NDEKTSV4RRFFQ69G5FAV\n":  false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAV.01ARZ3NDEKTSV4RRFFQ69G5FAV":  true,
		"01ARZ3NDEKTSV4RRFFQ69G5FAV.":                            false,
		".01ARZ3NDEKTSV4RRFFQ69G5FAV":                            false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAV.../01ARZ3NDEKTSV4RRFFQ69G5F": false,
		strings.Repeat("０", 26):                                  false,
		"01ARZ3NDEKTSV4RRFFQ69G5\xff\xffAV":                      false,
	} {
		got, err := blob.ParseID(in)
		if ok != (err == nil) || ok && string(got) != in || !ok && !errors.Is(err, blob.ErrInvalidID) {
			t.Errorf("ParseID(%q) = %q, %v", in, got, err)
		}
	}
}

func TestPath(t *testing.T) {
	for id, want := range map[blob.ID]string{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV": "5f/av/01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"abc":                        "abc",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV.01BX5ZZKBKACTAV9WEVGEMMVRZ": ".gc/work/01ARZ3NDEKTSV4RRFFQ69G5FAV.01BX5ZZKBKACTAV9WEVGEMMVRZ",
	} {
		if got := id.Path(); got != want {
			t.Errorf("%s.Path() = %q, want %q", id, got, want)
		}
	}
}

// Ids of a source are all different, and runs of them share a folder.
func TestSource(t *testing.T) {
	s := blob.NewSource(func() time.Time { return time.UnixMilli(1) }, rand.Reader)
	ids, folders := map[blob.ID]bool{}, map[string]int{}
	for range 4 * 256 {
		id, err := s.NewID()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blob.ParseID(string(id)); err != nil {
			t.Fatal(err)
		}
		ids[id] = true
		folders[id.Path()[:5]]++
	}
	if len(ids) != 4*256 || len(folders) != 4 {
		t.Errorf("%d ids in %d folders, want 1024 in 4", len(ids), len(folders))
	}
	broken := blob.NewSource(time.Now, iotest.ErrReader(errWire))
	if id, err := broken.NewID(); !errors.Is(err, errWire) || id != "" {
		t.Errorf("without randomness: %q, %v", id, err)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := blob.ParseID(s)
		if err == nil && (string(id) != s || strings.ContainsAny(s, "./\\\x00") || len(id.Path()) != 32) {
			t.Errorf("ParseID(%q) = %q, path %q", s, id, id.Path())
		}
	})
}
