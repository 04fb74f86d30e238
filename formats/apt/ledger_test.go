package apt_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/apt"
	"granary/repo/repotest"
)

func newRig(t *testing.T) *repotest.Rig {
	t.Helper()
	return repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format { return []formats.Format{apt.New(now)} }})
}

// uploaded puts a package into stable of the repository "origin".
func uploaded(t *testing.T, r *repotest.Rig, name string) {
	t.Helper()
	r.Put("origin", "pool/stable/main/upload", []byte(debOf(t, ".gz", control(name, "1.0", "amd64"), strings.Repeat(name, 1000))))
}

// What an index promises of a file is checked before the file is kept, whichever
// form of the index the client took, and whatever the cache remembers.
func TestPoolIsChecked(t *testing.T) {
	for _, form := range []string{"Packages", "Packages.gz", "Packages.xz", "by-hash"} {
		t.Run(form, func(t *testing.T) {
			origin, r := newRig(t), newRig(t)
			origin.Create("origin", "hosted", "apt", nil)
			uploaded(t, origin, "hello")
			uploaded(t, origin, "other")
			up := origin.Serve(t)
			r.Cache("cache", "apt", up.URL+"/origin", 0)

			const pool = "pool/main/h/hello/hello_1.0_amd64.deb"
			want := origin.Get("origin", pool)
			index := "dists/stable/main/binary-amd64/" + form
			rel := r.Get("cache", "dists/stable/InRelease")
			if form == "by-hash" {
				index = "dists/stable/main/binary-amd64/by-hash/SHA256/" + listed(t, rel, "main/binary-amd64/Packages.gz")
			}
			r.Get("cache", index)
			lie := func(w http.ResponseWriter, req *http.Request) bool {
				if path.Base(req.URL.Path) != path.Base(pool) {
					return false
				}
				bad := bytes.Clone(want)
				bad[len(bad)-1]++
				w.Write(bad) //nolint:errcheck // the test sees what has come
				return true
			}
			up.Misbehave(lie)
			r.Refused(formats.ErrUpstream, "cache", "GET", pool, nil)
			up.Misbehave(nil)
			if got := r.Get("cache", pool); !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d", len(got), len(want))
			}

			// A file that is in no index that was asked for is taken as it comes.
			const other = "pool/main/o/other/other_1.0_amd64.deb"
			uploaded(t, origin, "third")
			const third = "pool/main/t/third/third_1.0_amd64.deb"
			up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
				if strings.HasSuffix(req.URL.Path, ".deb") {
					fmt.Fprint(w, "anything")
					return true
				}
				return false
			})
			r.Refused(formats.ErrUpstream, "cache", "GET", other, nil)
			if got := r.Get("cache", third); string(got) != "anything" {
				t.Errorf("%q", got)
			}
		})
	}
}

// listed is the SHA-256 of a path in a Release file.
func listed(t *testing.T, rel []byte, name string) string {
	t.Helper()
	_, list, _ := strings.Cut(string(rel), "\nSHA256:")
	for line := range strings.Lines(list) {
		if words := strings.Fields(line); len(words) == 3 && words[2] == name {
			return words[0]
		}
	}
	t.Fatalf("%s is not listed", name)
	return ""
}

func TestPromises(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	gz := func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(s)) //nolint:errcheck // to memory
		w.Close()          //nolint:errcheck // likewise
		return b.String()
	}
	packages := "Package: a\nFilename: ./pool/a.deb\nSHA256: " + sum + "\n\nPackage: b\nFilename: pool/b.deb\nMD5sum: x\n"
	for _, c := range []struct{ text, want string }{
		{packages, "pool/a.deb"},
		{gz(packages), "pool/a.deb"},
		{"Package: s\nDirectory: pool/s\nChecksums-Sha256:\n " + sum + " 10 s.dsc\n " + sum + " 20 s.tar.xz\n bad\n", "pool/s/s.dsc pool/s/s.tar.xz"},
		{"Package: a\nDescription-md5: x\n", ""},
		{"usr/bin/a main/a\n", "error"},
		{"", ""},
		{"\x1f\x8bnot gzip", "error"},
	} {
		var got []string
		for p, err := range format().Promises("dists/stable", strings.NewReader(c.text)) {
			if err != nil {
				got = []string{"error"}
				break
			}
			if len(p.SHA256) != 32 {
				t.Errorf("%+v", p)
			}
			got = append(got, p.Path)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%.40q: %q, want %q", c.text, s, c.want)
		}
	}
}

func TestIndexNames(t *testing.T) {
	for at, want := range map[string]bool{
		"dists/stable main/binary-amd64/Packages":            true,
		"dists/stable main/binary-amd64/Packages.xz":         true,
		"dists/stable main/source/Sources.gz":                true,
		"dists/stable main/binary-amd64/by-hash/SHA256/ab":   true,
		"dists/stable main/source/by-hash/SHA256/ab":         true,
		"dists/stable main/i18n/by-hash/SHA256/ab":           false,
		"dists/stable main/by-hash/SHA256/ab":                false,
		"dists/stable main/Contents-amd64.gz":                false,
		"dists/stable main/binary-amd64/Packages.diff/Index": false,
		"dists/stable main/binary-amd64/Packages.zst":        false,
		"dists/stable InRelease":                             false,
		":flat/cuda/x86_64 Packages.gz":                      true,
		":flat/cuda by-hash/SHA256/ab":                       true,
	} {
		scope, doc, _ := strings.Cut(at, " ")
		dir := strings.TrimPrefix(strings.TrimPrefix(scope, ":flat"), "/")
		if got := format().Index(scope, formats.Join(dir, doc)); got != want {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	}
}

func FuzzPromises(f *testing.F) {
	f.Add([]byte("Package: a\nFilename: pool/a.deb\nSHA256: " + strings.Repeat("ab", 32) + "\n"))
	f.Add([]byte("Package: s\nDirectory: p\nChecksums-Sha256:\n " + strings.Repeat("ab", 32) + " 1 x\n"))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for p, err := range format().Promises("dists/stable", bytes.NewReader(b)) {
			if err == nil && (p.Path == "" || len(p.SHA256) != 32) {
				t.Errorf("%+v", p)
			}
		}
	})
}
