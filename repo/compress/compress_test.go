package compress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
	xi2 "github.com/xi2/xz"
)

// stanzas is an index of n packages.
func stanzas(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		r := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // no secret
		fmt.Fprintf(&b, "Package: package%05d\nVersion: %d.%d\nSize: %d\nSHA256: %016x%016x%016x%016x\nDescription: one of many\n\n",
			i, r.IntN(9), r.IntN(99), r.IntN(1<<20), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
	return b.Bytes()
}

func newCache(t *testing.T) *Cache {
	t.Helper()
	c, err := New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// packed compresses b, written in several parts.
func packed(t *testing.T, c *Cache, form string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := c.Writer(&out, form)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		n := min(len(b), 10_007)
		if _, err := z.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readers are independent ones of each form.
var readers = map[string]map[string]func(io.Reader) (io.Reader, error){
	".gz": {
		"compress/gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"gzip":          program("gzip", "-dc"),
		"python":        program("python3", "-c", "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))"),
	},
	".xz": {
		"ulikunitz": func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) },
		"xi2":       func(r io.Reader) (io.Reader, error) { return xi2.NewReader(r, 1<<20) },
		"xz":        program("xz", "-dc"),
		"python":    program("python3", "-c", "import lzma,sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))"),
	},
}

func program(name string, args ...string) func(io.Reader) (io.Reader, error) {
	return func(r io.Reader) (io.Reader, error) {
		if _, err := exec.LookPath(name); err != nil {
			return nil, nil //nolint:nilerr,nilnil // it is not here
		}
		cmd := exec.Command(name, args...) //nolint:noctx // ends with its input
		cmd.Stdin = r
		out, err := cmd.Output()
		return bytes.NewReader(out), err
	}
}

// What is written is what every reader of the form reads.
func TestForms(t *testing.T) {
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(rand.IntN(256)) //nolint:gosec // no secret
	}
	bodies := map[string][]byte{
		"empty": {}, "one byte": {'x'}, "one piece": stanzas(100), "many pieces": stanzas(5000),
		"random": random, "the same byte": make([]byte, 3*longest),
	}
	for name, body := range bodies {
		for form, by := range readers {
			c := newCache(t)
			first := packed(t, c, form, body)
			if again := packed(t, c, form, body); !bytes.Equal(first, again) {
				t.Errorf("%s%s: from memory it is something else", name, form)
			}
			for reader, open := range by {
				if reader == "python" && name != "many pieces" {
					continue // it takes a second to start
				}
				t.Run(name+form+" "+reader, func(t *testing.T) {
					r, err := open(bytes.NewReader(first))
					if err != nil {
						t.Fatal(err)
					}
					if r == nil {
						if os.Getenv("CI") == "true" {
							t.Fatal("not installed")
						}
						t.Skip("not installed")
					}
					if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d bytes read of %d: %v", len(got), len(body), err)
					}
				})
			}
		}
	}
}

// One more record in the middle changes one piece, maybe the next.
func TestOneMore(t *testing.T) {
	c := newCache(t)
	body := stanzas(8000)
	for form := range readers {
		packed(t, c, form, body)
		before := c.made.EstimatedSize()
		at := bytes.Index(body, []byte("Package: package04000"))
		more := bytes.Join([][]byte{body[:at], []byte("Package: package03999a\nVersion: 1\n\n"), body[at:]}, nil)
		packed(t, c, form, more)
		if made := c.made.EstimatedSize() - before; made < 1 || made > 2 {
			t.Errorf("%s: %d pieces of %d bytes were made anew", form, made, len(more))
		}
	}
}

func TestLengths(t *testing.T) {
	body := stanzas(20_000)
	var cut cutter
	var lengths []int
	n := 0
	for rest := body; len(rest) > 0; {
		got, whole := cut.next(rest[:min(len(rest), 777)])
		n += got
		rest = rest[got:]
		if whole {
			if n < shortest || n > longest {
				t.Errorf("a piece of %d bytes", n)
			}
			lengths = append(lengths, n)
			n = 0
		}
	}
	if mean := (len(body) - n) / len(lengths); mean < shortest*3/2 || mean > shortest*3 {
		t.Errorf("%d bytes in the mean", mean)
	}
}

// failing fails after n bytes.
type failing struct{ n int }

var errFull = errors.New("full")

func (f *failing) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestErrors(t *testing.T) {
	c := newCache(t)
	if _, err := c.Writer(io.Discard, ".zip"); !errors.Is(err, ErrForm) {
		t.Errorf("an unknown form: %v", err)
	}
	body := strings.Repeat(string(stanzas(300)), 30)
	for form := range readers {
		all := len(packed(t, c, form, []byte(body)))
		for _, n := range []int{0, 11, all / 2, all - 1} {
			z, err := c.Writer(&failing{n: n}, form)
			if err == nil {
				_, err = io.WriteString(z, body)
				err = errors.Join(err, z.Close())
			}
			if !errors.Is(err, errFull) {
				t.Errorf("%s: a writer that fails after %d of %d bytes: %v", form, n, all, err)
			}
		}
	}
}
