package yum_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"granary/formats"
	"granary/formats/yum"
	"granary/kv/mem"
	"granary/repo/config"
	"granary/repo/repotest"
	"granary/repo/signing"
)

const entryPath = "repodata/repomd.xml"

func signed(t *testing.T, key, document, signature []byte) bool {
	t.Helper()
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(key))
	if err != nil {
		t.Fatal(err)
	}
	return signing.VerifyDetached(ring, document, signature, time.Now()) == nil
}

// At the root of a generation everything stays that repomd.xml led to, on every
// node, whatever is published after it.
func TestGenerations(t *testing.T) {
	shared := mem.New(mem.Options{Now: newRig(t).Clock.Now, Misuse: func(err error) { t.Error(err) }})
	list := func(now func() time.Time) []formats.Format { return []formats.Format{yum.New(now)} }
	one := repotest.New(t, repotest.Options{KV: shared, Formats: list})
	other := repotest.New(t, repotest.Options{KV: shared, Blobs: one.Blobs, Formats: list})
	one.Create("h", config.Hosted, "yum", nil)
	one.Group("g", "yum", "h")
	if err := other.Registry.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"h", "g"} {
		publish(t, one, "h", hello(1, "x"))
		entry, signature := one.Get(name, entryPath), one.Get(name, entryPath+".asc")
		sum := sha256.Sum256(entry)
		root := "generations/" + hex.EncodeToString(sum[:]) + "/"
		primary := string(entry)[strings.Index(string(entry), `href="`)+len(`href="`):]
		primary = primary[:strings.IndexByte(primary, '"')]
		for n := range 3 {
			for _, r := range []*repotest.Rig{other, one} {
				if !bytes.Equal(r.Get(name, root+entryPath), entry) || !bytes.Equal(r.Get(name, root+entryPath+".asc"), signature) {
					t.Errorf("%s: after %d more generations it has become another", name, n)
				}
				if doc := unzipped(t, r.Get(name, root+primary)); !strings.Contains(doc, `ver="1.1"`) || strings.Contains(doc, `ver="1.2"`) {
					t.Errorf("%s: it leads to\n%s", name, doc)
				}
				r.Get(name, root+pathOf(hello(1, "x")))
			}
			one.Clock.Advance(time.Second)
			publish(t, one, "h", hello(2+n, "x"))
			if now := one.Get(name, entryPath); bytes.Equal(now, entry) || !signed(t, one.Get(name, entryPath+".key"), now, one.Get(name, entryPath+".asc")) {
				t.Errorf("%s: the next one is the same, or not signed", name)
			}
		}
		for _, p := range []string{"generations/" + strings.Repeat("0", 64) + "/" + entryPath, "generations/x/" + entryPath, root + "repodata/x.xml"} {
			one.Refused(formats.ErrNotFound, name, "GET", p, nil)
		}
		for n := range 4 {
			if _, _, err := one.Send(t.Context(), "h", "DELETE", pathOf(hello(1+n, "")), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An upstream that goes on between a cache's request for repomd.xml and that
// for the signature is asked for both again.
func TestUpstreamGoesOn(t *testing.T) {
	origin := newRig(t)
	origin.Create("origin", config.Hosted, "yum", nil)
	publish(t, origin, "origin", hello(1, "x"))
	up := origin.Serve(t)
	r := newRig(t)
	r.Cache("c", "yum", up.URL+"/origin", 60)
	next := 2
	up.Misbehave(func(_ http.ResponseWriter, req *http.Request) bool {
		if path.Base(req.URL.Path) == "repomd.xml.asc" && next < 4 {
			publish(t, origin, "origin", hello(next, "x"))
			next++
		}
		r.Clock.Advance(time.Millisecond)
		return false
	})
	entry, signature := r.Get("c", entryPath), r.Get("c", entryPath+".asc")
	if !signed(t, origin.Get("origin", entryPath+".key"), entry, signature) {
		t.Error("the signature is that of another repomd.xml")
	}
	if next != 4 {
		t.Errorf("%d generations were published", next-1)
	}
	if doc := unzipped(t, r.Get("c", "repodata/primary.xml.gz")); !strings.Contains(doc, `ver="1.3"`) {
		t.Errorf("the last one is not served:\n%s", doc)
	}
	asked := up.Requests()
	r.Get("c", entryPath)
	r.Get("c", entryPath+".asc")
	if up.Requests() != asked {
		t.Errorf("%d requests for what is here", up.Requests()-asked)
	}
}
