package httpapi

import (
	"bytes"
	"strings"
	"testing"

	"granary/formats/formattest"
)

func TestQuota(t *testing.T) {
	r := newRig(t)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"files","repo_type":"hosted","format":"raw","quota_bytes":100,"quota_artifacts":3}`).status(201)
	put := func(path string, n int) *answer {
		return r.do("admin", "PUT", "/repository/files/"+path, strings.NewReader(strings.Repeat("x", n)))
	}
	put("a", 60).status(201)
	put("b", 50).fails(507, "INSUFFICIENT_STORAGE", "at most 100 bytes are allowed, with this upload there would be 110; nothing was stored")
	r.do("admin", "GET", "/repository/files/b", nil).status(404)
	put("a", 100).status(201) // in place of the 60
	put("a", 100).status(201) // the same again
	put("a", 1).status(201)
	put("b", 1).status(201)
	put("c", 0).status(201)
	put("d", 0).fails(507, "INSUFFICIENT_STORAGE", "at most 3 artifacts")
	put("c", 2).status(201)
	r.do("admin", "DELETE", "/repository/files/a", nil).status(204)
	put("d", 0).status(201)

	put("long", 101).status(507)
	r.json("admin", "PUT", "/api/v1/repositories/files", `{"quota_bytes":null,"quota_artifacts":null}`).status(200)
	put("long", 1000).status(201)
	// Several files of one form count together, and are stored together or not
	// at all.
	r.json("admin", "PUT", "/api/v1/repositories/files", `{"quota_artifacts":5}`).status(200)
	header, body := formattest.Form(t, formattest.Part{Name: "f", File: "one", Content: "1"}, formattest.Part{Name: "f", File: "two", Content: "2"})
	r.do("admin", "POST", "/repository/files/form/", bytes.NewReader(body), "Content-Type", header.Get("Content-Type")).status(507)
	r.do("admin", "GET", "/repository/files/form/one", nil).status(404)
}
