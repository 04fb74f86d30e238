package apt_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"granary/formats"
	"granary/formats/apt"
)

func read(data string) ([3]string, []string, error) {
	return apt.ReadDeb(bytes.NewReader([]byte(data)), int64(len(data)))
}

func TestReadDeb(t *testing.T) {
	for _, kind := range []string{"", ".gz", ".xz", ".zst"} {
		got, files, err := read(debOf(t, kind, control("hello", "1:2.0-1~bpo", "all"), "text"))
		if err != nil || got != [3]string{"hello", "1:2.0-1~bpo", "all"} || !slices.Equal(files, []string{"usr/share/doc/x/text"}) {
			t.Errorf("%s: %v %v %v", kind, got, files, err)
		}
	}
}

// bzipped is data.tar with the file usr/share/doc/x/old, compressed by bzip2.
const bzipped = "QlpoOTFBWSZTWar6yj4AAF79hMmAAEDAAf2AAAhuRJ5AAACACCAAdQ0Uep6QNBo09Rpk0ElBGg0NABoE/touchA54CRhKA2uqgixJA0GDZtu49fLmF5ETYELMmhHZnMYjKcxKFEHiVuCD5Txo6oULbU6UkH4u5IpwoSFV9ZR8A=="

// What packages had before xz is read in data.tar, where dpkg reads it.
func TestOldCompressions(t *testing.T) {
	bz2, err := base64.StdEncoding.DecodeString(bzipped)
	if err != nil {
		t.Fatal(err)
	}
	for kind, data := range map[string]string{".bz2": string(bz2), ".lzma": packed(t, ".lzma", tarOf(t, "./usr/share/doc/x/old", "old"))} {
		plain := tarOf(t, "./control", control("old", "1.0", "all"))
		got, files, err := read(ar(arMember{"debian-binary", "2.0\n"}, arMember{"control.tar.gz", packed(t, ".gz", plain)}, arMember{"data.tar" + kind, data}))
		if err != nil || got[0] != "old" || !slices.Equal(files, []string{"usr/share/doc/x/old"}) {
			t.Errorf("%s: %v %v %v", kind, got, files, err)
		}
		if _, _, err := read(ar(arMember{"debian-binary", "2.0\n"}, arMember{"control.tar" + kind, data}, arMember{"data.tar", plain})); !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("control data in %s: %v", kind, err)
		}
	}
}

// Of a package with more than is gone through the files before that are listed.
func TestExpandedFiles(t *testing.T) {
	var data bytes.Buffer
	z, err := zstd.NewWriter(&data)
	if err != nil {
		t.Fatal(err)
	}
	w, zeros := tar.NewWriter(z), make([]byte, 1<<20)
	for name, blocks := range map[string]int64{"first": 0, "second": 300} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: blocks << 20, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		for range blocks {
			if _, err := w.Write(zeros); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "third", Typeflag: tar.TypeReg}), w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	plain := tarOf(t, "./control", control("zeros", "1.0", "all"))
	got, files, err := read(ar(arMember{"debian-binary", "2.0\n"}, arMember{"control.tar", plain}, arMember{"data.tar.zst", data.String()}))
	if err != nil || got[0] != "zeros" || !slices.Contains(files, "second") || slices.Contains(files, "third") {
		t.Errorf("%v %v %v, of %d bytes", got, files, err, data.Len())
	}
}

// What dpkg-deb writes is read.
func TestDpkgDeb(t *testing.T) {
	program, err := exec.LookPath("dpkg-deb")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dpkg-deb is missing")
		}
		t.Skip("dpkg-deb is missing")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"DEBIAN/control": control("tool", "3.1", "amd64"), "usr/bin/tool": "#!/bin/sh\n"} {
		path := filepath.Join(dir, "p", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	for _, z := range []string{"gzip", "xz", "none"} {
		out := filepath.Join(dir, z+".deb")
		if b, err := exec.Command(program, "-Z"+z, "--build", filepath.Join(dir, "p"), out).CombinedOutput(); err != nil {
			t.Fatalf("dpkg-deb: %v: %s", err, b)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		got, files, err := read(string(data))
		if err != nil || got != [3]string{"tool", "3.1", "amd64"} || !slices.Equal(files, []string{"usr/bin/tool"}) {
			t.Errorf("%s: %v %v %v", z, got, files, err)
		}
	}
}

func TestBadDeb(t *testing.T) {
	good := control("hello", "1.0", "amd64")
	data := arMember{"data.tar", tarOf(t, "x", "x")}
	version := arMember{"debian-binary", "2.0\n"}
	withControl := func(text string) string {
		return ar(version, arMember{"control.tar", tarOf(t, "control", text)}, data)
	}
	bomb := packed(t, ".gz", tarOf(t, "big", strings.Repeat("x", 65<<20), "control", good))
	for name, text := range map[string]string{
		"empty":              "",
		"text":               "hello",
		"only magic":         "!<arch>\n",
		"cut header":         "!<arch>\ndebian-binary",
		"no members":         ar(version),
		"not first":          ar(data, version, arMember{"control.tar", tarOf(t, "control", good)}),
		"other version":      ar(arMember{"debian-binary", "3.0\n"}, arMember{"control.tar", tarOf(t, "control", good)}, data),
		"no control file":    ar(version, arMember{"control.tar", tarOf(t, "other", good)}, data),
		"no data":            ar(version, arMember{"control.tar", tarOf(t, "control", good)}, arMember{"x", ""}),
		"control is garbage": ar(version, arMember{"control.tar.gz", "garbage"}, data),
		"data is garbage":    ar(version, arMember{"control.tar", tarOf(t, "control", good)}, arMember{"data.tar.xz", "garbage"}),
		"bz2":                ar(version, arMember{"control.tar.bz2", "BZh9"}, data),
		"huge length":        strings.Replace(withControl(good), "4         `", "9999999999`", 1),
		"negative length":    strings.Replace(withControl(good), "4         `", "-4        `", 1),
		"too many members":   ar(append([]arMember{version}, slices.Repeat([]arMember{{"x", ""}}, 100)...)...),
		"control bomb":       ar(version, arMember{"control.tar.gz", bomb}, data),
		"long control":       withControl(good + "X: " + strings.Repeat("x", 2<<20) + "\n"),
		"two paragraphs":     withControl(good + "\n" + good),
		"no version":         withControl("Package: x1\nArchitecture: all\n"),
		"upper-case name":    withControl(control("Hello", "1.0", "amd64")),
		"name with slash":    withControl(control("a/../b", "1.0", "amd64")),
		"version with slash": withControl(control("hello", "1.0/..", "amd64")),
		"arch source":        withControl(control("hello", "1.0", "source")),
		"continued first":    withControl(" x\n" + good),
		"field twice":        withControl(good + "Package: other\n"),
		"NUL":                withControl(good + "X: a\x00b\n"),
		"no colon":           withControl(good + "nothing\n"),
	} {
		if _, _, err := read(text); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%s: %v, want ErrBadRequest", name, err)
		}
	}
}

// A store that fails is not the package's fault.
func TestReadError(t *testing.T) {
	boom := errors.New("boom")
	if _, _, err := apt.ReadDeb(failing{boom}, 1000); !errors.Is(err, boom) || errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func FuzzDeb(f *testing.F) {
	for _, kind := range []string{"", ".gz", ".xz", ".zst"} {
		f.Add([]byte(debOf(f, kind, control("hello", "1.0", "all"), "t")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := read(string(data))
		if err != nil && !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%v is no ErrBadRequest", err)
		}
	})
}

// A field of very many lines costs what its bytes do.
func TestManyLines(t *testing.T) {
	text := []byte("Package: a\nDescription: b\n" + strings.Repeat(" c\n", 300_000) + "Version: 1\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, err := apt.Paragraphs(bytes.NewReader(text))
	runtime.ReadMemStats(&after)
	if err != nil || !bytes.Equal(out, append(text, '\n')) {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 200<<20 {
		t.Errorf("%d bytes were allocated for %d", n, len(text))
	}
}

func FuzzParagraphs(f *testing.F) {
	f.Add([]byte("A: b\n c\n\nD: e\n"))
	f.Add([]byte("A:\n b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := apt.Paragraphs(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := apt.Paragraphs(bytes.NewReader(out))
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("%q was read as %q and then as %q, %v", data, out, again, err)
		}
	})
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte("Suite: x\nSHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n"))
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nMD5Sum:\n x 1 y\n-----BEGIN PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := apt.ParseRelease(data); err == nil && n == 0 {
			t.Error("a Release without files was accepted")
		}
	})
}
