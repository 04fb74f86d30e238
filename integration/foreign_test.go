package integration_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // a field of Release files
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"

	"granary/integration/node"
)

// archive is a signed archive of Debian packages that is not granary's.
type archive struct {
	*httptest.Server
	t    *testing.T
	root string
	key  *openpgp.Entity

	mu   sync.Mutex
	seen map[string]bool // paths that were asked for; guarded by mu
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	if _, err := exec.LookPath("dpkg-scanpackages"); err != nil {
		need(t, "dpkg-scanpackages")
	}
	key, err := openpgp.NewEntity("Archive", "", "archive@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{t: t, root: t.TempDir(), key: key, seen: map[string]bool{}}
	files := http.FileServer(http.Dir(a.root))
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.seen[strings.TrimPrefix(r.URL.Path, "/")] = true
		a.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

// mirror makes a cache of it, called "mirror", that knows its key.
func (a *archive) mirror(n *node.Node) {
	a.t.Helper()
	key, err := json.Marshal(a.public())
	if err != nil {
		a.t.Fatal(err)
	}
	aptRepository(n, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_keys":%s`, a.URL, key))
}

// asked tells whether a path was asked for.
func (a *archive) asked(path string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[path]
}

// public is the key, armored.
func (a *archive) public() string {
	a.t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = a.key.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return b.String() + "\n"
}

func (a *archive) write(name string, data []byte) {
	a.t.Helper()
	path := filepath.Join(a.root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, data, 0o644) //nolint:gosec // no secret
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// add puts packages into a directory and returns the index of all that is there.
func (a *archive) add(dir string, debs ...string) []byte {
	a.t.Helper()
	for _, deb := range debs {
		a.write(dir+"/"+filepath.Base(deb), mustRead(a.t, deb))
	}
	c := aptClient{t: a.t}
	return []byte(c.run(a.root, "sh", "-c", `dpkg-scanpackages -m "$0" 2>errors || cat errors`, dir))
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// publish lists what is below a directory in its Release, signed, with a copy of
// each file under its digest, and returns the paths listed with their digests.
func (a *archive) publish(dir string, date time.Time, more string) map[string]string {
	a.t.Helper()
	const form = "Mon, 02 Jan 2006 15:04:05 UTC"
	var md5s, shas strings.Builder
	listed := map[string]string{}
	err := filepath.WalkDir(filepath.Join(a.root, dir), func(path string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(filepath.Join(a.root, dir), path)
		if err != nil || relErr != nil || d.IsDir() || strings.Contains(name, "by-hash/") || strings.HasSuffix(name, ".deb") || strings.Contains("InRelease Release.gpg", name) {
			return err
		}
		b := mustRead(a.t, path)
		sum := fmt.Sprintf("%x", sha256.Sum256(b))
		fmt.Fprintf(&md5s, " %x %d %s\n", md5.Sum(b), len(b), name) //nolint:gosec // as above
		fmt.Fprintf(&shas, " %s %d %s\n", sum, len(b), name)
		listed[name] = sum
		a.write(dir+"/"+filepath.Dir(name)+"/by-hash/SHA256/"+sum, b)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	if suite, ok := strings.CutPrefix(dir, "dists/"); ok {
		more += "Suite: " + suite + "\nCodename: " + suite + "\nComponents: main\n"
	}
	text := "Origin: Foreign\nArchitectures: amd64\nAcquire-By-Hash: yes\nDate: " + date.UTC().Format(form) + "\n" + more + "MD5Sum:\n" + md5s.String() + "SHA256:\n" + shas.String()
	var clear, detached bytes.Buffer
	w, err := clearsign.Encode(&clear, a.key.PrivateKey, nil)
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = openpgp.ArmoredDetachSign(&detached, a.key, strings.NewReader(text), nil)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	for name, data := range map[string][]byte{"InRelease": clear.Bytes(), "Release": []byte(text), "Release.gpg": detached.Bytes()} {
		a.write(dir+"/"+name, data)
		// Of one second there may be several, which a client that compares times
		// takes for one.
		if err := os.Chtimes(filepath.Join(a.root, dir, name), date, date); err != nil {
			a.t.Fatal(err)
		}
	}
	return listed
}

// validUntil is a field of Release.
func validUntil(t time.Time) string {
	return "Valid-Until: " + t.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC") + "\n"
}
