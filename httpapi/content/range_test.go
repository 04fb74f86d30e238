package content

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

func TestRange(t *testing.T) {
	const body = "0123456789"
	for _, inline := range []bool{false, true} {
		c, _ := testContent(t, body, inline)
		tag := ETag(c.Sums)
		tests := []struct {
			header []string
			status int
			want   string // Content-Range
			body   string
		}{
			{[]string{"Range", "bytes=0-3"}, 206, "bytes 0-3/10", "0123"},
			{[]string{"Range", "bytes=3-"}, 206, "bytes 3-9/10", "3456789"},
			{[]string{"Range", "bytes=-3"}, 206, "bytes 7-9/10", "789"},
			{[]string{"Range", "bytes=-99"}, 206, "bytes 0-9/10", body},
			{[]string{"Range", "bytes=9-99999999999999999999999"}, 206, "bytes 9-9/10", "9"},
			{[]string{"Range", "Bytes = 0-0"}, 206, "bytes 0-0/10", "0"},
			{[]string{"Range", "bytes=0-0,,"}, 206, "bytes 0-0/10", "0"},
			{[]string{"Range", "bytes=0-0,99-"}, 206, "bytes 0-0/10", "0"},
			{[]string{"Range", "bytes=10-"}, 416, "", ""},
			{[]string{"Range", "bytes=99-100, 200-"}, 416, "", ""},
			{[]string{"Range", "bytes=-0"}, 416, "", ""},
			{[]string{"Range", "bytes=5-2"}, 200, "", body},
			{[]string{"Range", "bytes=a-b"}, 200, "", body},
			{[]string{"Range", "bytes=+1-2"}, 200, "", body},
			{[]string{"Range", "bytes="}, 200, "", body},
			{[]string{"Range", "lines=0-3"}, 200, "", body},
			{[]string{"Range", "bytes=0-9,0-9"}, 200, "", body}, // more than the whole
			{[]string{"Range", "bytes=0-3", "If-Range", tag}, 206, "bytes 0-3/10", "0123"},
			{[]string{"Range", "bytes=0-3", "If-Range", "W/" + tag}, 200, "", body},
			{[]string{"Range", "bytes=0-3", "If-Range", `"other"`}, 200, "", body},
			{[]string{"Range", "bytes=0-3", "If-Range", "Fri, 02 Jan 2026 03:04:05 GMT"}, 206, "bytes 0-3/10", "0123"},
			{[]string{"Range", "bytes=0-3", "If-Range", "Fri, 02 Jan 2026 03:04:06 GMT"}, 200, "", body},
		}
		for _, tt := range tests {
			resp, err := do(t, c, Options{}, http.MethodGet, tt.header...)
			if tt.status == 416 {
				var re *RangeError
				if !errors.As(err, &re) || re.Size != 10 {
					t.Errorf("inline %v %q: error %v, want RangeError", inline, tt.header, err)
				}
				continue
			}
			if err != nil || resp.StatusCode != tt.status || resp.Header.Get("Content-Range") != tt.want {
				t.Errorf("inline %v %q: %d %q %v, want %d %q", inline, tt.header, resp.StatusCode, resp.Header.Get("Content-Range"), err, tt.status, tt.want)
			}
			if got := text(t, resp); got != tt.body {
				t.Errorf("inline %v %q: body %q, want %q", inline, tt.header, got, tt.body)
			}
		}
	}
}

func TestRangeIsForGetOfSomething(t *testing.T) {
	c, _ := testContent(t, "0123456789", false)
	if resp, err := do(t, c, Options{}, http.MethodHead, "Range", "bytes=0-3"); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Length") != "10" {
		t.Errorf("HEAD with Range: %d %v %v", resp.StatusCode, resp.Header, err)
	}
	empty, _ := testContent(t, "", true)
	if resp, err := do(t, empty, Options{}, http.MethodGet, "Range", "bytes=0-"); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Length") != "" {
		t.Errorf("empty file with Range: %d %v %v", resp.StatusCode, resp.Header, err)
	}
}

func TestManyRanges(t *testing.T) {
	const body = "abcdefghijklmnopqrstuvwxyz"
	c, o := testContent(t, body, false)
	resp, err := do(t, c, Options{}, http.MethodGet, "Range", "bytes=0-1, 5-6,-2")
	if err != nil || resp.StatusCode != 206 {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	if o.n != 3 {
		t.Errorf("store opened %d times", o.n)
	}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("Content-Type %q", resp.Header.Get("Content-Type"))
	}
	whole := text(t, resp)
	if resp.ContentLength != int64(len(whole)) {
		t.Errorf("Content-Length %d, body of %d", resp.ContentLength, len(whole))
	}
	m := multipart.NewReader(strings.NewReader(whole), params["boundary"])
	for _, want := range [][2]string{{"bytes 0-1/26", "ab"}, {"bytes 5-6/26", "fg"}, {"bytes 24-25/26", "yz"}} {
		p, err := m.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		if p.Header.Get("Content-Range") != want[0] || p.Header.Get("Content-Type") != "text/plain" || string(b) != want[1] {
			t.Errorf("part %v %q, want %q", p.Header, b, want)
		}
	}
	if _, err := m.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
	if resp, err = do(t, c, Options{}, http.MethodGet, "Range", "bytes="+strings.Repeat("0-0,", maxRanges)+"1-1"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%d ranges: %d %v, want the whole", maxRanges+1, resp.StatusCode, err)
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1,5-", "bytes=-0", "bytes=5-2", "x", "bytes=99999999999999999999-"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size <= 0 {
			return
		}
		spans, ok := parseRange(header, size)
		if !ok && len(spans) > 0 || len(spans) > maxRanges {
			t.Fatalf("%v %v", spans, ok)
		}
		var total int64
		for _, s := range spans {
			if s.start < 0 || s.length <= 0 || s.start+s.length > size {
				t.Fatalf("parseRange(%q, %d) = %v", header, size, spans)
			}
			total += s.length
		}
		if total > size {
			t.Fatalf("parseRange(%q, %d) sends %d bytes", header, size, total)
		}
	})
}
