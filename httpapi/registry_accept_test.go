package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"granary/repo/config"
)

// Clients that read image manifests alone, and say so, get the usual one of an
// index by its tag; everybody else gets what was pushed, and by digest always.
func TestRegistryAccept(t *testing.T) {
	const (
		dockerImage = "application/vnd.docker.distribution.manifest.v2+json"
		dockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
		indexType   = "application/vnd.oci.image.index.v1+json"
		schema1     = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	)
	o := newOrigin(t)
	o.pushBlob("admin", "hub/app", "{}")
	image := func(mediaType, note string) string {
		m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q,"size":2},"annotations":{"note":%q}}`, mediaType, shaOf("{}"), note)
		o.do("admin", "PUT", "/v2/hub/app/manifests/"+shaOf(m), strings.NewReader(m), "Content-Type", mediaType).status(201)
		return m
	}
	list := func(tag, mediaType string, images ...string) string { // of architecture, type, image
		var all []string
		for i := 0; i < len(images); i += 3 {
			all = append(all, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":%q}}`, images[i+1], shaOf(images[i+2]), len(images[i+2]), images[i]))
		}
		m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, mediaType, strings.Join(all, ","))
		o.do("admin", "PUT", "/v2/hub/app/manifests/"+tag, strings.NewReader(m), "Content-Type", mediaType).status(201)
		return m
	}
	arm, oci, old := image(imageType, "arm"), image(imageType, "amd"), image(dockerImage, "old")
	multi := list("multi", indexType, "arm64", imageType, arm, "amd64", imageType, oci)
	listed := list("list", dockerList, "arm64", dockerImage, old, "amd64", dockerImage, old)
	foreign := list("foreign", indexType, "arm64", imageType, arm)
	o.do("admin", "PUT", "/v2/hub/app/manifests/single", strings.NewReader(oci), "Content-Type", imageType).status(201)

	r := newRig(t)
	r.Cache("mirror", "docker", o.url, 0)
	ids, err := r.Registry.MemberIDs(t.Context(), "members", []string{"mirror"})
	if err != nil {
		t.Fatal(err)
	}
	r.Create("all", config.Proxy, "docker", func(c *config.Repository) { c.Members = ids })
	for _, at := range []struct {
		rig  *rig
		name string
	}{{o.rig, "hub"}, {r, "mirror"}, {r, "all"}} {
		for _, c := range []struct{ tag, accept, want, mediaType string }{
			{"multi", "", multi, indexType},
			{"multi", "*/*", multi, indexType},
			{"multi", imageType + ", */*;q=0.1", multi, indexType},
			{"multi", imageType + "," + indexType, multi, indexType},
			{"multi", imageType + "," + dockerList, multi, indexType},
			{"multi", "application/json", multi, indexType},
			{"multi", schema1, multi, indexType},
			{"multi", dockerImage, multi, indexType}, // there is none of that type
			{"multi", imageType, oci, imageType},
			{"multi", schema1 + ", " + imageType + ";q=0.5," + indexType + ";q=0", oci, imageType},
			{"list", dockerImage + "," + schema1, old, dockerImage},
			{"list", dockerImage + "," + dockerList, listed, dockerList},
			{"foreign", imageType, foreign, indexType},
			{"single", dockerImage, oci, imageType},
			{shaOf(multi), imageType, multi, indexType},
		} {
			path := "/v2/" + at.name + "/app/manifests/" + c.tag
			var header []string
			if c.accept != "" {
				header = []string{"Accept", c.accept}
			}
			got := at.rig.do("admin", "GET", path, nil, header...).status(200).is(c.want).header("Content-Type", c.mediaType).header("Docker-Content-Digest", shaOf(c.want))
			at.rig.do("admin", "HEAD", path, nil, header...).status(200).header("Content-Type", c.mediaType).header("Docker-Content-Digest", shaOf(c.want)).
				header("Content-Length", fmt.Sprint(len(c.want))).header("Vary", got.Header.Get("Vary")).header("Etag", got.Header.Get("Etag"))
			isTag := c.tag != "single" && !strings.Contains(c.tag, ":")
			if vary := strings.Contains(got.Header.Get("Vary"), "Accept"); vary != isTag {
				t.Errorf("%s: Vary %q", path, got.Header.Get("Vary"))
			}
			if fixed := strings.Contains(got.Header.Get("Cache-Control"), "immutable"); fixed != strings.Contains(c.tag, ":") {
				t.Errorf("%s: Cache-Control %q", path, got.Header.Get("Cache-Control"))
			}
		}
	}
	// An index of which that image is gone is all that there is.
	o.do("admin", "DELETE", "/v2/hub/app/manifests/"+shaOf(oci), nil).status(202)
	o.do("admin", "GET", "/v2/hub/app/manifests/multi", nil, "Accept", imageType).status(200).is(multi)
}
