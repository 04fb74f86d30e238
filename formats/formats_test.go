package formats_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"granary/digest"
	"granary/formats"
	"granary/formats/formattest"
)

func TestCheckPath(t *testing.T) {
	for _, p := range []string{"a", "a/b c/:d", "中/#?%\"'<>;*[]{}~&+", ".a/..b/...", strings.Repeat("a", 255), strings.Repeat("abc/", 224) + "abcd"} {
		if err := formats.CheckPath(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{"", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a\\b", "a\x00", "a\nb", "a\x7f", "\u0085", "\xff", strings.Repeat("a", 256), strings.Repeat("abc/", 225) + "a"} {
		if err := formats.CheckPath(p); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%q: %v", p, err)
		}
	}
	if err := formats.CheckSegment("a/b"); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("slash in a segment: %v", err)
	}
}

func TestLimit(t *testing.T) {
	for _, n := range []int{0, 1, 99, 100} {
		got, err := io.ReadAll(formats.Limit(strings.NewReader(strings.Repeat("x", n)), 100, "thing"))
		if err != nil || len(got) != n {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
	for _, r := range []io.Reader{strings.NewReader(strings.Repeat("x", 101)), iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 101)))} {
		got, err := io.ReadAll(formats.Limit(r, 100, "thing"))
		if !errors.Is(err, formats.ErrTooLarge) || len(got) != 100 || !strings.Contains(err.Error(), "thing") {
			t.Errorf("101 bytes: %d, %v", len(got), err)
		}
	}
}

// counted counts the reads that reach a blob.
type counted struct {
	*formattest.Bytes
	reads int
	err   error
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	if c.err != nil {
		return 0, c.err
	}
	return c.Bytes.ReadAt(p, off)
}

func TestReadAhead(t *testing.T) {
	data := make([]byte, 3<<20+17)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // test data
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	b := &counted{Bytes: formattest.NewBytes(data)}
	got, err := io.ReadAll(iotest.OneByteReader(io.NewSectionReader(formats.ReadAhead(b), 0, b.Size())))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d of %d bytes: %v", len(got), len(data), err)
	}
	if b.reads != 4 {
		t.Errorf("%d reads of 4 MiB", b.reads)
	}
	rapid.Check(t, func(rt *rapid.T) {
		a := formats.ReadAhead(b)
		for range 5 {
			off, n := rapid.IntRange(0, len(data)+5).Draw(rt, "off"), rapid.IntRange(0, 2<<20).Draw(rt, "n")
			p := make([]byte, n)
			got, err := a.ReadAt(p, int64(off))
			want := data[min(off, len(data)):min(off+n, len(data))]
			if !bytes.Equal(p[:got], want) || (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF { //nolint:errorlint // plain by contract
				rt.Fatalf("%d bytes at %d: %d, %v", n, off, got, err)
			}
		}
	})
	b.err = errors.New("store is gone")
	if _, err := formats.ReadAhead(b).ReadAt(make([]byte, 1), 0); !errors.Is(err, b.err) {
		t.Errorf("got %v", err)
	}
	short := &counted{Bytes: formattest.NewBytes(nil), err: io.EOF}
	if _, err := formats.ReadAhead(liar{short}).ReadAt(make([]byte, 1), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a blob that is shorter than it says: %v", err)
	}
	if _, err := formats.ReadAhead(b).ReadAt(nil, -1); err == nil {
		t.Error("read at -1")
	}
}

type liar struct{ *counted }

func (liar) Size() int64 { return 10 }

func TestFormErrors(t *testing.T) {
	header, body := formattest.Form(t, formattest.Part{Name: "a", Content: "1234567890"}, formattest.Part{Name: "b", File: "f", Content: "x"})
	open := func(r io.Reader) (*formats.Form, error) {
		return formats.NewForm(&formats.Upload{Header: header, Body: r})
	}
	read := func(r io.Reader) error {
		f, err := open(r)
		for err == nil {
			var p *formats.Part
			if p, err = f.Next(); err == nil {
				_, err = io.Copy(io.Discard, p)
			}
		}
		return err
	}
	for _, whole := range []io.Reader{bytes.NewReader(body), iotest.OneByteReader(bytes.NewReader(body)), bytes.NewReader(bytes.TrimSpace(body)),
		bytes.NewReader(append(bytes.Clone(body), "epilogue"...)), iotest.DataErrReader(bytes.NewReader(body))} {
		if err := read(whole); err != io.EOF { //nolint:errorlint // plain by contract
			t.Errorf("whole form: %v", err)
		}
	}
	gone := errors.New("client is gone")
	for n := range len(body) - 2 {
		for _, cut := range []io.Reader{bytes.NewReader(body[:n]), iotest.OneByteReader(bytes.NewReader(body[:n]))} {
			if err := read(cut); !errors.Is(err, formats.ErrTruncated) {
				t.Errorf("cut after %d bytes of %d: %v", n, len(body), err)
			}
		}
		if err := read(io.MultiReader(bytes.NewReader(body[:n]), iotest.ErrReader(gone))); !errors.Is(err, gone) || errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("reading fails after %d bytes: %v", n, err)
		}
	}
	for _, contentType := range []string{"", "text/plain", "multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary="} {
		if _, err := formats.NewForm(&formats.Upload{Header: http.Header{"Content-Type": {contentType}}}); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%q: %v", contentType, err)
		}
	}
	header, body = formattest.Form(t, slices.Repeat([]formattest.Part{{Name: "a"}}, 20_000)...)
	if err := read(bytes.NewReader(body)); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("a form of 20,000 parts: %v", err)
	}
	header, body = formattest.Form(t, formattest.Part{Name: "a", Content: "1234567890"}, formattest.Part{Name: "b", File: "f", Content: "x"})
	f, err := open(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Text(9); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("field of 10 bytes, 9 allowed: %v", err)
	}
}

// A view that is no Pager is read on from any of its entries.
func TestDirAfter(t *testing.T) {
	entries := []formats.Entry{{Name: "a", Dir: true}, {Name: "c", Dir: true}, {Name: "a"}, {Name: "b"}, {Name: "c"}}
	v := dirs{entries: entries}
	for i, e := range entries {
		var got []formats.Entry
		for e, err := range formats.DirAfter(t.Context(), v, "", e.Cursor()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if !slices.Equal(got, entries[i+1:]) {
			t.Errorf("after %q: %+v", e.Cursor(), got)
		}
	}
	v.err = errors.New("broken")
	n := 0
	for _, err := range formats.DirAfter(t.Context(), v, "", "zzz") {
		if n++; !errors.Is(err, v.err) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
}

type dirs struct {
	formats.View
	entries []formats.Entry
	err     error
}

func (d dirs) Dir(context.Context, string) iter.Seq2[formats.Entry, error] {
	return func(yield func(formats.Entry, error) bool) {
		for _, e := range d.entries {
			if !yield(e, nil) {
				return
			}
		}
		if d.err != nil {
			yield(formats.Entry{}, d.err)
		}
	}
}

func TestCheckSums(t *testing.T) {
	b := formattest.NewBytes([]byte("x"))
	if err := formats.CheckSums(b, b.Sums()); err != nil {
		t.Error(err)
	}
	err := formats.CheckSums(b, digest.Sums{SHA256: make([]byte, 32)})
	if !errors.Is(err, formats.ErrChecksum) || !errors.Is(err, digest.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	if err := formats.CheckSums(b, digest.Sums{MD5: make([]byte, 16)}); err == nil {
		t.Error("a promise that was not checked passes")
	}
}

func FuzzPromised(f *testing.F) {
	f.Add("SHA-256=abc=,md5", "zz")
	f.Add("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	f.Fuzz(func(t *testing.T, list, sum string) {
		sums, err := formats.Promised(http.Header{"Digest": {list}, "Repr-Digest": {list}, "X-Checksum-Sha256": {sum}})
		if err != nil && !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrChecksum) {
			t.Error(err)
		}
		for _, a := range sums.Algorithms() {
			if len(sums.Get(a)) != a.Size() {
				t.Errorf("%s of %d bytes", a, len(sums.Get(a)))
			}
		}
	})
}
