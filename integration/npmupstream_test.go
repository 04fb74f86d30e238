package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"granary/integration/node"
)

const (
	npmKeys   = `{"keys":[{"expires":null,"keyid":"SHA256:theirs","keytype":"ecdsa-sha2-nistp256","scheme":"ecdsa-sha2-nistp256","key":"MFkw"}]}`
	npmSigned = `[{"keyid":"SHA256:theirs","sig":"MEUCIQ=="}]`
)

// What npm asks of a registry beside packages passes through a cache: the keys
// and signatures of "npm audit signatures", searches, and audits.
func TestNpmAsksUpstream(t *testing.T) {
	n := node.Start(t, node.Options{})
	var searched, audited atomic.Value
	up := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /-/npm/v1/keys":
			io.WriteString(w, npmKeys) //nolint:errcheck // the peer may have gone
		case "GET /left":
			fmt.Fprintf(w, `{"name":"left","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"left","version":"1.0.0","dist":{"tarball":"http://%s/left/-/left-1.0.0.tgz","integrity":"sha512-%s==","signatures":%s}}}}`,
				r.Host, strings.Repeat("A", 86), npmSigned)
		case "GET /-/v1/search":
			searched.Store(r.URL.Query().Get("text"))
			io.WriteString(w, `{"objects":[{"package":{"name":"leftist","version":"2.0.0"}}],"total":1,"time":""}`) //nolint:errcheck // the same
		case "POST /-/npm/v1/security/advisories/bulk":
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			audited.Store(string(body))
			io.WriteString(w, `{"left":[{"id":7,"severity":"high","vulnerable_versions":"<2"}]}`) //nolint:errcheck // the same
		default:
			http.NotFound(w, r)
		}
	})
	cache := mirror(t, n, "npm", up)
	n.Create(`{"name":"own","repo_type":"hosted","format":"npm"}`)
	n.Create(fmt.Sprintf(`{"name":"all","repo_type":"proxy","format":"npm","members":["own",%q]}`, cache))

	for _, repo := range []string{cache, "all"} {
		base := "/repository/" + repo + "/"
		if got := string(n.Want(200, http.MethodGet, base+"-/npm/v1/keys", nil)); got != npmKeys {
			t.Errorf("%s: keys %s, want the upstream's", repo, got)
		}
		if got := signaturesOf(t, n.Want(200, http.MethodGet, base+"left", nil)); got != npmSigned {
			t.Errorf("%s: signatures %s, want the upstream's", repo, got)
		}
		if got := string(n.Want(200, http.MethodGet, base+"-/v1/search?text=left&size=5", nil)); !strings.Contains(got, `"leftist"`) {
			t.Errorf("%s: search found %s, want what the upstream finds", repo, got)
		}
		if got := searched.Swap(""); got != "left" {
			t.Errorf("%s: the upstream was asked for %q", repo, got)
		}
		const asked = `{"left":["1.0.0"]}`
		if got := string(n.Want(200, http.MethodPost, base+"-/npm/v1/security/advisories/bulk", strings.NewReader(asked))); !strings.Contains(got, `"high"`) {
			t.Errorf("%s: audit says %s, want the upstream's verdict", repo, got)
		}
		if got := audited.Swap(""); got != asked {
			t.Errorf("%s: the upstream was asked to audit %q", repo, got)
		}
	}
	// The keys were kept: signatures can be verified while the upstream is down.
	up.does(says(http.StatusServiceUnavailable))
	if got := string(n.Want(200, http.MethodGet, "/repository/all/-/npm/v1/keys", nil)); got != npmKeys {
		t.Errorf("keys without the upstream: %s", got)
	}
	// So is what a member has: its packages are found, but that there is nothing
	// can't be said.
	doc, err := npmDocument("lefthand", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	n.Want(200, http.MethodPut, "/repository/own/lefthand", bytes.NewReader(doc))
	if got := string(n.Want(200, http.MethodGet, "/repository/all/-/v1/search?text=lefthand", nil)); !strings.Contains(got, `"lefthand"`) {
		t.Errorf("search without the upstream found %s, want what is published here", got)
	}
	n.Want(502, http.MethodGet, "/repository/all/-/v1/search?text=nowhere", nil)
	if got := string(n.Want(200, http.MethodGet, "/repository/own/-/npm/v1/keys", nil)); got != `{"keys":[]}` {
		t.Errorf("keys of a hosted repository: %s", got)
	}
}

func signaturesOf(t *testing.T, packument []byte) string {
	t.Helper()
	var p struct {
		Versions map[string]struct {
			Dist struct {
				Signatures json.RawMessage `json:"signatures"`
			} `json:"dist"`
		} `json:"versions"`
	}
	if err := json.Unmarshal(packument, &p); err != nil {
		t.Fatalf("packument: %v", err)
	}
	return string(p.Versions["1.0.0"].Dist.Signatures)
}
