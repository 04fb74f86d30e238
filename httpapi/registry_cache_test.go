package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"granary/repo/config"
)

// farRegistry is a registry that a cache asks: another server, that counts what is
// asked and may refuse.
type farRegistry struct {
	*rig
	url string

	mu     sync.Mutex
	asked  map[string]int // by method and what is asked for; guarded by mu
	status int            // that everything is refused with, 0: nothing is; guarded by mu
}

func newOrigin(t *testing.T) *farRegistry {
	t.Helper()
	o := &farRegistry{rig: newRig(t), asked: map[string]int{}}
	o.Create("hub", config.Hosted, "docker", nil)
	o.anyone("read", "hub")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		for _, kind := range []string{"manifests", "blobs", "tags", "referrers"} {
			if strings.Contains(r.URL.Path, "/"+kind+"/") {
				o.asked[r.Method+" "+kind]++
			}
		}
		status := o.status
		o.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			return
		}
		o.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	o.url = s.URL + "/repository/hub/"
	return o
}

func (o *farRegistry) refuse(status int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = status
}

// took returns what was asked since the last call.
func (o *farRegistry) took() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := fmt.Sprint(o.asked)
	clear(o.asked)
	return out
}

func TestRegistryCache(t *testing.T) {
	o := newOrigin(t)
	layer := strings.Repeat("layer", 50_000)
	m := o.pushImage("admin", "hub/team/app", "v1", layer)
	r := newRig(t)
	r.Cache("mirror", "docker", o.url, 0)
	get := func(path string) *answer { return r.do("admin", "GET", "/v2/mirror/team/app/"+path, nil) }

	get("manifests/v1").status(200).is(m).header("Docker-Content-Digest", shaOf(m)).header("Content-Type", imageType)
	if got := o.took(); got != "map[GET manifests:1 HEAD manifests:1]" {
		t.Errorf("the first pull asked %s", got)
	}
	get("manifests/v1").status(200).is(m)
	get("manifests/" + shaOf(m)).status(200).is(m)
	if got := o.took(); got != "map[HEAD manifests:1]" {
		t.Errorf("the second pull asked %s", got)
	}
	get("blobs/" + shaOf(layer)).status(200).is(layer)
	get("blobs/" + shaOf(layer)).status(200).is(layer)
	if got := o.took(); got != "map[GET blobs:1]" {
		t.Errorf("a blob asked %s", got)
	}
	get("manifests/none").refused(404, "MANIFEST_UNKNOWN")
	get("blobs/"+shaOf("none")).refused(404, "BLOB_UNKNOWN")
	get("tags/list").status(200).is(`{"name":"mirror/team/app","tags":["v1"]}`)
	get("referrers/" + shaOf(m)).status(200)
	r.do("admin", "GET", "/v2/mirror/none/tags/list", nil).refused(404, "NAME_UNKNOWN")
	r.do("admin", "GET", "/v2/_catalog", nil).status(200).is(`{"repositories":["mirror/team/app"]}`)
	r.do("admin", "POST", "/v2/mirror/team/app/blobs/uploads/", nil).refused(405, "UNSUPPORTED")
	r.do("admin", "PUT", "/v2/mirror/team/app/manifests/v1", strings.NewReader(m), "Content-Type", imageType).refused(405, "UNSUPPORTED")

	// A tag that moves is followed; the old manifest stays.
	m2 := o.pushImage("admin", "hub/team/app", "v1", "another layer")
	o.took()
	get("manifests/v1").status(200).is(m2)
	get("manifests/" + shaOf(m)).status(200).is(m)
	if got := o.took(); got != "map[GET manifests:1 HEAD manifests:1]" {
		t.Errorf("a tag that moved asked %s", got)
	}

	// What an upstream can't say now is told from what is here.
	for _, status := range []int{429, 500, 503} {
		o.refuse(status)
		if get("manifests/v1").status(200).is(m2).Header.Get("Warning") == "" {
			t.Errorf("no warning while the upstream answers %d", status)
		}
		get("manifests/" + shaOf(m2)).status(200)
		get("blobs/" + shaOf(layer)).status(200)
		get("tags/list").status(200).is(`{"name":"mirror/team/app","tags":["v1"]}`)
		if a := get("manifests/never-seen"); a.StatusCode < 429 || a.StatusCode == 404 {
			t.Errorf("a tag that nobody could ask for: %d", a.StatusCode)
		}
	}
}

// An upstream that does not say what a tag points to, and pages its listings.
func TestRegistryPlainUpstream(t *testing.T) {
	m := fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":2}}`, shaOf("{}"))
	var moved sync.Once
	tag := m
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/app/manifests/v1":
			w.Header().Set("Content-Type", imageType)
			fmt.Fprint(w, tag)
		case "/v2/app/manifests/page":
			fmt.Fprint(w, "<html>log in</html>")
		case "/v2/app/manifests/moving": // between HEAD and GET
			w.Header().Set("Content-Type", imageType)
			w.Header().Set("Docker-Content-Digest", shaOf(m))
			moved.Do(func() { tag = strings.Replace(m, "2,", "2, ", 1) })
			fmt.Fprint(w, tag)
		case "/v2/app/manifests/" + shaOf(m):
			w.Header().Set("Content-Type", imageType)
			fmt.Fprint(w, m)
		case "/v2/app/manifests/" + shaOf("lie"):
			fmt.Fprint(w, "truth")
		case "/v2/app/tags/list":
			switch r.URL.Query().Get("last") {
			case "":
				w.Header().Set("Link", `</v2/app/tags/list?last=b>; rel="next"`)
				fmt.Fprint(w, `{"name":"app","tags":["b","a"]}`)
			case "b":
				w.Header().Set("Link", `<list?last=b>; rel="next"`) // a circle
				fmt.Fprint(w, `{"name":"app","tags":["c", "bad tag"]}`)
			}
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	r := newRig(t)
	r.Cache("mirror", "docker", s.URL, -1)
	get := func(path string) *answer { return r.do("admin", "GET", "/v2/mirror/app/"+path, nil) }
	get("manifests/v1").status(200).is(m)
	get("manifests/page").refused(502, "UNKNOWN")
	get("manifests/moving").status(200).is(m)
	get("manifests/"+shaOf("lie")).refused(502, "UNKNOWN")
	get("tags/list").status(200).is(`{"name":"mirror/app","tags":["a","b","c"]}`)
	get("tags/list?n=1&last=a").status(200).is(`{"name":"mirror/app","tags":["b"]}`)
	s.Close()
	get("manifests/v1").status(200).is(m)
	get("manifests/" + shaOf(m)).status(200).is(m) // kept under its digest, too
	get("tags/list").status(200).is(`{"name":"mirror/app","tags":["a","b","c"]}`)
}

func TestRegistryGroup(t *testing.T) {
	o := newOrigin(t)
	far := o.pushImage("admin", "hub/app", "both", "far")
	o.do("admin", "PUT", "/v2/hub/app/manifests/far", strings.NewReader(far), "Content-Type", imageType).status(201)
	r := newRig(t)
	first := r.Create("first", config.Hosted, "docker", nil)
	r.Cache("mirror", "docker", o.url, 0)
	ids, err := r.Registry.MemberIDs(t.Context(), "members", []string{"first", "mirror"})
	if err != nil {
		t.Fatal(err)
	}
	share := false
	r.Create("all", config.Proxy, "docker", func(c *config.Repository) { c.Members, c.WriteMember, c.ClaimNames = ids, first.ID, &share })
	near := r.pushImage("admin", "all/app", "both", "near") // through the group
	r.do("admin", "GET", "/v2/first/app/manifests/both", nil).status(200).is(near)
	r.do("admin", "GET", "/v2/all/app/manifests/both", nil).status(200).is(near)
	r.do("admin", "GET", "/v2/all/app/manifests/far", nil).status(200).is(far)
	r.do("admin", "GET", "/v2/all/app/blobs/"+shaOf("far"), nil).status(200).is("far")
	r.do("admin", "GET", "/v2/all/app/tags/list", nil).status(200).is(`{"name":"all/app","tags":["both","far"]}`)
	r.do("admin", "GET", "/repository/all/v2/_catalog", nil).status(200).is(`{"repositories":["app"]}`)
	// Referrers of both.
	refer := func(x *rig, repository, kind string) {
		s := fmt.Sprintf(`{"schemaVersion":2,"artifactType":%q,"config":{"mediaType":"e","digest":%q,"size":2},"subject":{"digest":%q,"size":1}}`, kind, shaOf("{}"), shaOf(far))
		x.do("admin", "PUT", "/v2/"+repository+"/app/manifests/"+shaOf(s), strings.NewReader(s), "Content-Type", imageType).status(201)
	}
	refer(o.rig, "hub", "far")
	refer(r, "all", "near")
	var list struct {
		Manifests []struct{ ArtifactType string }
	}
	r.do("admin", "GET", "/v2/all/app/referrers/"+shaOf(far), nil).status(200).decode(&list)
	if len(list.Manifests) != 2 {
		t.Errorf("referrers %+v", list.Manifests)
	}
	// A token for the group is good for what is behind it, to who may read that.
	r.user("reader", "read", "all", "read", "mirror")
	token := r.registryToken("reader", "&scope=repository:all/app:pull")
	r.bearer(token, "GET", "/v2/all/app/manifests/both", nil).status(200).is(far) // first is not for them
	r.bearer(token, "GET", "/v2/mirror/app/manifests/both", nil).refused(401, "UNAUTHORIZED")
	// One member that can't be asked does not break the other.
	o.refuse(500)
	r.do("admin", "GET", "/v2/all/app/tags/list", nil).status(200)
	r.do("admin", "GET", "/v2/all/app/manifests/both", nil).status(200).is(near)
	// Deleting through the group reaches what may be deleted.
	r.do("admin", "DELETE", "/v2/all/app/manifests/"+shaOf(near), nil).status(202)
	r.do("admin", "GET", "/v2/first/app/manifests/both", nil).refused(404, "MANIFEST_UNKNOWN")
}

// What a group says it has is not sent by who pushes to it, and becomes part of
// the member that takes uploads: it is complete without the group, whatever
// store the other member keeps its bytes in.
func TestRegistryPushOfWhatTheGroupHas(t *testing.T) {
	layer, indexType := strings.Repeat("layer", 50_000), "application/vnd.oci.image.index.v1+json"
	for _, store := range []string{"default", "second"} {
		o := newOrigin(t)
		child := o.pushImage("admin", "hub/app", "v1", layer)
		signature := fmt.Sprintf(`{"schemaVersion":2,"artifactType":"sig","config":{"mediaType":"e","digest":%q,"size":2},"subject":{"digest":%q,"size":%d}}`, shaOf("{}"), shaOf(child), len(child))
		inner := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d},{"mediaType":%q,"digest":%q,"size":%d}]}`,
			imageType, shaOf(child), len(child), imageType, shaOf(signature), len(signature))
		o.do("admin", "PUT", "/v2/hub/app/manifests/sig", strings.NewReader(signature), "Content-Type", imageType).status(201)
		o.do("admin", "PUT", "/v2/hub/app/manifests/inner", strings.NewReader(inner), "Content-Type", indexType).status(201)

		r := newRig(t)
		if store != "default" {
			if _, err := r.Registry.CreateStore(t.Context(), store, func(s *config.Store) error {
				s.Type, s.Root, s.Sync, s.IOSize = config.File, "/elsewhere", true, 1024
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		id, err := r.Registry.StoreID(t.Context(), "store", store)
		if err != nil {
			t.Fatal(err)
		}
		own := r.Create("own", config.Hosted, "docker", nil)
		r.Create("mirror", config.Cache, "docker", func(c *config.Repository) { c.UpstreamURL, c.CacheTTL, c.Store = o.url, new(int64), id })
		ids, err := r.Registry.MemberIDs(t.Context(), "members", []string{"own", "mirror"})
		if err != nil {
			t.Fatal(err)
		}
		r.Create("all", config.Proxy, "docker", func(c *config.Repository) { c.Members, c.WriteMember, c.ClaimNames = ids, own.ID, new(bool) })

		// Of one image: its layer is there.
		r.do("admin", "HEAD", "/v2/all/app/blobs/"+shaOf(layer), nil).status(200)
		r.do("admin", "PUT", "/v2/all/app/manifests/mine", strings.NewReader(child), "Content-Type", imageType).status(201).header("Docker-Content-Digest", shaOf(child))
		r.do("admin", "GET", "/v2/own/app/blobs/"+shaOf(layer), nil).status(200).is(layer)
		// An index of an index, all below which is there.
		r.do("admin", "DELETE", "/v2/own/app/manifests/"+shaOf(child), nil).status(202)
		r.do("admin", "DELETE", "/v2/own/app/blobs/"+shaOf(layer), nil).status(202)
		r.do("admin", "HEAD", "/v2/all/app/manifests/"+shaOf(inner), nil).status(200)
		outer := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, indexType, shaOf(inner), len(inner))
		r.do("admin", "PUT", "/v2/all/app/manifests/multi", strings.NewReader(outer), "Content-Type", indexType).status(201).
			header("Docker-Content-Digest", shaOf(outer)).header("Location", "/v2/all/app/manifests/"+shaOf(outer)).header("OCI-Subject", "")
		for what, want := range map[string]string{"manifests/multi": outer, "manifests/" + shaOf(inner): inner, "manifests/" + shaOf(child): child, "blobs/" + shaOf(layer): layer} {
			r.do("admin", "GET", "/v2/own/app/"+what, nil).status(200).is(want)
		}
		r.do("admin", "GET", "/v2/own/app/manifests/"+shaOf(inner), nil).header("Content-Type", indexType)
		var list struct {
			Manifests []struct{ Digest, ArtifactType string }
		}
		r.do("admin", "GET", "/v2/own/app/referrers/"+shaOf(child), nil).status(200).decode(&list)
		if len(list.Manifests) != 1 || list.Manifests[0].Digest != shaOf(signature) || list.Manifests[0].ArtifactType != "sig" {
			t.Errorf("%s: what refers to a manifest that was taken over: %+v", store, list.Manifests)
		}
		// It goes with the manifest that it came with.
		r.do("admin", "DELETE", "/v2/own/app/manifests/"+shaOf(signature), nil).status(202)
		if r.do("admin", "GET", "/v2/own/app/referrers/"+shaOf(child), nil).status(200).decode(&list); len(list.Manifests) != 0 {
			t.Errorf("%s: still refers: %+v", store, list.Manifests)
		}
		// What nobody has is missing as ever.
		none := strings.Replace(outer, shaOf(inner), shaOf("none"), 1)
		r.do("admin", "PUT", "/v2/all/app/manifests/none", strings.NewReader(none), "Content-Type", indexType).refused(400, "MANIFEST_BLOB_UNKNOWN")
		r.do("admin", "PUT", "/v2/own/app/manifests/none", strings.NewReader(none), "Content-Type", indexType).refused(400, "MANIFEST_BLOB_UNKNOWN")
	}
}
