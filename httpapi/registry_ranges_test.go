package httpapi

import (
	"fmt"
	"strings"
	"testing"
)

// Parts, conditions and absence of blobs and manifests, long and short, from a
// hosted repository and from a cache that has them already.
func TestRegistryRanges(t *testing.T) {
	o := newOrigin(t)
	long := strings.Repeat("0123456789", 20_000)
	m := o.pushImage("admin", "hub/app", "v1", long)
	r := newRig(t)
	r.Cache("mirror", "docker", o.url, 0)
	for _, at := range []struct {
		rig  *rig
		name string
	}{{o.rig, "hub"}, {r, "mirror"}} {
		base := "/v2/" + at.name + "/app/"
		get := func(method, path string, header ...string) *answer {
			return at.rig.do("admin", method, base+path, nil, header...)
		}
		for path, whole := range map[string]string{"blobs/" + shaOf(long): long, "blobs/" + shaOf("{}"): "{}", "manifests/v1": m, "manifests/" + shaOf(m): m} {
			n, size := len(whole), fmt.Sprint(len(whole))
			get("GET", path).status(200).is(whole).header("Accept-Ranges", "bytes").header("Content-Length", size).header("Docker-Content-Digest", shaOf(whole))
			head := get("HEAD", path).status(200).is("").header("Accept-Ranges", "bytes").header("Content-Length", size).header("Docker-Content-Digest", shaOf(whole))
			tag := head.Header.Get("Etag")
			if !strings.HasPrefix(tag, `"`) {
				t.Errorf("%s: entity tag %q", path, tag)
			}
			get("GET", path, "Range", "bytes=1-1").status(206).is(whole[1:2]).header("Content-Range", "bytes 1-1/"+size).header("Docker-Content-Digest", shaOf(whole))
			get("GET", path, "Range", "bytes=-1").status(206).is(whole[n-1:])
			get("GET", path, "Range", "bytes=1-").status(206).is(whole[1:])
			get("GET", path, "Range", "bytes=0-"+fmt.Sprint(n+100)).status(206).is(whole)
			get("GET", path, "Range", "bytes=0-0", "If-Range", tag).status(206).is(whole[:1])
			get("GET", path, "Range", "bytes=0-0", "If-Range", `"other"`).status(200).is(whole)
			get("GET", path, "Range", "bytes="+size+"-").refused(416, "RANGE_INVALID").header("Content-Range", "bytes */"+size).header("Location", "")
			get("HEAD", path, "Range", "bytes=0-0").status(200).header("Content-Length", size)
			for _, method := range []string{"GET", "HEAD"} {
				get(method, path, "If-None-Match", tag).status(304).is("").header("Docker-Content-Digest", shaOf(whole)).header("Etag", tag)
				get(method, path, "If-None-Match", "*").status(304).is("")
				get(method, path, "If-None-Match", `"other"`).status(200)
			}
			fixed := strings.Contains(path, ":")
			if got := head.Header.Get("Cache-Control"); strings.Contains(got, "immutable") != fixed || !strings.Contains(got, "private") {
				t.Errorf("%s: Cache-Control %q", path, got)
			}
		}
		if body := get("GET", "blobs/"+shaOf(long), "Range", "bytes=0-1,10-11").status(206); !strings.HasPrefix(body.Header.Get("Content-Type"), "multipart/byteranges") {
			t.Errorf("two ranges: %s", body.Header.Get("Content-Type"))
		}
		for path, code := range map[string]string{"blobs/" + shaOf("none"): "BLOB_UNKNOWN", "manifests/none": "MANIFEST_UNKNOWN", "manifests/" + shaOf("none"): "MANIFEST_UNKNOWN"} {
			get("HEAD", path).status(404).is("")
			get("GET", path).refused(404, code)
			get("GET", path, "Range", "bytes=0-0", "If-None-Match", "*").refused(404, code)
		}
	}
	// What a path can't be asked for says what it can.
	for path, allow := range map[string]string{
		"blobs/" + shaOf(long): "GET, HEAD, DELETE", "blobs/uploads/": "POST", "blobs/uploads/x": "GET, HEAD, PATCH, PUT, DELETE",
		"manifests/v1": "GET, HEAD, PUT, DELETE", "tags/list": "GET, HEAD", "referrers/" + shaOf(m): "GET, HEAD",
	} {
		o.do("admin", "BREW", "/v2/hub/app/"+path, nil).refused(405, "UNSUPPORTED").header("Allow", allow)
	}
}

// Manifests that are named by SHA-512, and what refers to them.
func TestRegistryLongDigests(t *testing.T) {
	r := newOrigin(t)
	config := "sha512:" + hexSHA512("{}")
	r.do("admin", "POST", "/v2/hub/app/blobs/uploads/?digest="+config, strings.NewReader("{}")).status(201).header("Docker-Content-Digest", config)
	m := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"e","digest":%q,"size":2}}`, config)
	name := "sha512:" + hexSHA512(m)
	put := func(ref, body string) *answer {
		return r.do("admin", "PUT", "/v2/hub/app/manifests/"+ref, strings.NewReader(body), "Content-Type", imageType)
	}
	put(name, m+" ").refused(400, "DIGEST_INVALID")
	r.do("admin", "HEAD", "/v2/hub/app/manifests/"+name, nil).status(404)
	put(name, m).status(201).header("Docker-Content-Digest", name).header("Location", "/v2/hub/app/manifests/"+name)
	r.do("admin", "GET", "/v2/hub/app/manifests/"+name, nil).status(200).is(m).header("Docker-Content-Digest", name).header("Content-Type", imageType)
	referrer := fmt.Sprintf(`{"schemaVersion":2,"artifactType":"sig","config":{"mediaType":"e","digest":%q,"size":2},"subject":{"digest":%q,"size":%d}}`, config, name, len(m))
	put("sig", referrer).status(201).header("OCI-Subject", name).header("Docker-Content-Digest", shaOf(referrer))
	var list struct{ Manifests []struct{ Digest string } }
	r.do("admin", "GET", "/v2/hub/app/referrers/"+name, nil).status(200).decode(&list)
	if len(list.Manifests) != 1 || list.Manifests[0].Digest != shaOf(referrer) {
		t.Errorf("what refers to it: %+v", list.Manifests)
	}
	// It goes with the tags that have its bytes.
	put("v1", m).status(201).header("Docker-Content-Digest", shaOf(m))
	r.do("admin", "DELETE", "/v2/hub/app/manifests/"+name, nil).status(202)
	r.do("admin", "GET", "/v2/hub/app/manifests/"+name, nil).refused(404, "MANIFEST_UNKNOWN")
	r.do("admin", "GET", "/v2/hub/app/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
}
