package httpapi

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"granary/cluster/task"
	"granary/formats/formattest"
)

func TestQuota(t *testing.T) {
	r := newRig(t)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"files","repo_type":"hosted","format":"raw","quota_bytes":100,"quota_artifacts":3}`).status(201)
	put := func(path string, n int) *answer {
		return r.do("admin", "PUT", "/repository/files/"+path, strings.NewReader(strings.Repeat("x", n)))
	}
	put("a", 60).status(201)
	put("b", 50).fails(507, "INSUFFICIENT_STORAGE", "at most 100 bytes are allowed, with this there would be 110; nothing was stored")
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

// Images count however they come: whole, in chunks, by mount, or with a manifest.
func TestQuotaOfImages(t *testing.T) {
	r := newRig(t)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"images","repo_type":"hosted","format":"docker","quota_bytes":100000}`).status(201)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"other","repo_type":"hosted","format":"docker"}`).status(201)
	big, fits := strings.Repeat("b", 70_000), strings.Repeat("f", 60_000)
	r.pushBlob("admin", "images/app", fits)
	begin := func() string {
		return r.do("admin", "POST", "/v2/images/app/blobs/uploads/", nil).status(202).Header.Get("Location")
	}
	r.do("admin", "PUT", begin()+"?digest="+shaOf(big), strings.NewReader(big)).refused(507, "UNKNOWN")
	at := begin()
	r.do("admin", "PATCH", at, strings.NewReader(big)).status(202)
	r.do("admin", "PATCH", at, strings.NewReader(big)).refused(507, "UNKNOWN") // more than may ever be there
	at = begin()
	r.do("admin", "PATCH", at, strings.NewReader(big)).status(202)
	r.do("admin", "PUT", at+"?digest="+shaOf(big), nil).refused(507, "UNKNOWN")
	r.pushBlob("admin", "other/app", big)
	r.do("admin", "POST", "/v2/images/app/blobs/uploads/?mount="+shaOf(big)+"&from=other/app", nil).refused(507, "UNKNOWN")
	r.do("admin", "HEAD", "/v2/images/app/blobs/"+shaOf(big), nil).status(404)
	pad := fmt.Sprintf(`{"schemaVersion":2,"manifests":[],"annotations":{"pad":%q}}`, strings.Repeat("p", 50_000))
	r.do("admin", "PUT", "/v2/images/app/manifests/v1", strings.NewReader(pad), "Content-Type", "application/vnd.oci.image.index.v1+json").refused(507, "UNKNOWN")
	r.do("admin", "GET", "/v2/images/app/manifests/v1", nil).status(404)
	r.pushBlob("admin", "images/app", fits) // is there already
	r.pushBlob("admin", "images/app", "little")
}

func TestQuotaOfCopies(t *testing.T) {
	r, tasks := working(t)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"files","repo_type":"hosted","format":"raw"}`).status(201)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"small","repo_type":"hosted","format":"raw","quota_bytes":100}`).status(201)
	r.do("admin", "PUT", "/repository/files/d/a", strings.NewReader(strings.Repeat("a", 60))).status(201)
	r.do("admin", "PUT", "/repository/files/d/b", strings.NewReader(strings.Repeat("b", 60))).status(201)
	promote := func(paths string) task.Task {
		t.Helper()
		return finish(t, tasks, r.json("admin", "POST", "/api/v1/repositories/files/promote", `{"target":"small","paths":`+paths+`}`))
	}
	if done := promote(`["d"]`); done.Status != task.Failed || !strings.Contains(done.Error, "at most 100 bytes are allowed, with this there would be 120") {
		t.Errorf("promotion beyond the quota: %+v", done)
	}
	r.do("admin", "GET", "/repository/small/d/a", nil).status(404)
	for range 2 { // again it adds nothing
		if done := promote(`["d/a"]`); done.Status != task.Completed {
			t.Errorf("promotion within the quota: %+v", done)
		}
	}
	r.do("admin", "GET", "/repository/small/d/a", nil).status(200)

	// A clone has the quota of its source, and is refused where that has been
	// lowered below what there is.
	done := finish(t, tasks, r.json("admin", "POST", "/api/v1/repositories/small/clone", `{"new_name":"copy"}`))
	if done.Status != task.Completed {
		t.Errorf("clone: %+v", done)
	}
	r.do("admin", "PUT", "/repository/copy/x", strings.NewReader(strings.Repeat("x", 50))).status(507)
	r.json("admin", "PUT", "/api/v1/repositories/small", `{"quota_bytes":10}`).status(200)
	r.json("admin", "POST", "/api/v1/repositories/small/clone", `{"new_name":"copy2"}`).fails(507, "INSUFFICIENT_STORAGE", "copy2")
	r.do("admin", "GET", "/api/v1/repositories/copy2", nil).status(404)
	r.do("admin", "GET", "/repository/small/d/a", nil).status(200)
}
