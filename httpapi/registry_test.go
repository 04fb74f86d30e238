package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"granary/auth"
	"granary/httpapi/registry"
	"granary/repo/config"
)

func shaOf(b string) string {
	s := sha256.Sum256([]byte(b))
	return "sha256:" + hex.EncodeToString(s[:])
}

const imageType = "application/vnd.oci.image.manifest.v1+json"

// refused wants the error body of the registry surface.
func (a *answer) refused(status int, code string) *answer {
	a.t.Helper()
	a.status(status)
	var b struct {
		Errors []struct {
			Code, Message string
			Detail        *struct{}
		}
	}
	if err := json.Unmarshal([]byte(a.text), &b); err != nil || len(b.Errors) != 1 || b.Errors[0].Code != code || b.Errors[0].Message == "" || b.Errors[0].Detail == nil {
		a.t.Errorf("%s: %q is no error %s: %v", a.what, a.text, code, err)
	}
	return a
}

// pushBlob uploads a blob in one request.
func (r *rig) pushBlob(as, image, content string) string {
	r.t.Helper()
	d := shaOf(content)
	r.do(as, "POST", "/v2/"+image+"/blobs/uploads/?digest="+d, strings.NewReader(content)).status(201)
	return d
}

// pushImage pushes an image of one layer and returns its manifest.
func (r *rig) pushImage(as, image, tag, layer string) string {
	r.t.Helper()
	m := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.example.config","digest":%q,"size":2},"layers":[{"mediaType":"x","digest":%q,"size":%d}]}`,
		r.pushBlob(as, image, "{}"), r.pushBlob(as, image, layer), len(layer))
	r.do(as, "PUT", "/v2/"+image+"/manifests/"+tag, strings.NewReader(m), "Content-Type", imageType).status(201).
		header("Docker-Content-Digest", shaOf(m)).header("Location", "/v2/"+image+"/manifests/"+shaOf(m))
	return m
}

func (r *rig) registryToken(as, query string) string {
	r.t.Helper()
	var g struct {
		Token       string
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	r.do(as, "GET", "/v2/token?service=granary"+query, nil).status(200).decode(&g)
	if g.Token == "" || g.Token != g.AccessToken || g.ExpiresIn != 86400 {
		r.t.Errorf("token answer %+v", g)
	}
	return g.Token
}

// bearer sends a request with a token.
func (r *rig) bearer(token, method, target string, body io.Reader, header ...string) *answer {
	r.t.Helper()
	return r.do("", method, target, body, append(header, "Authorization", "Bearer "+token)...)
}

func TestRegistryBase(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/v2", "/v2/"} {
		r.do("", "GET", path, nil).refused(401, "UNAUTHORIZED").
			header("Www-Authenticate", `Bearer realm="http://example.com/v2/token",service="granary"`).
			header("Docker-Distribution-Api-Version", "registry/2.0")
		r.do("admin", "GET", path, nil).status(200).is("{}").header("Docker-Distribution-Api-Version", "registry/2.0")
	}
	r.bearer(r.registryToken("admin", ""), "GET", "/v2/", nil).status(200)
	r.bearer(r.registryToken("", ""), "GET", "/v2/", nil).status(200) // nobody has a token too
	r.bearer("nonsense", "GET", "/v2/", nil).refused(401, "UNAUTHORIZED")
	r.do("", "GET", "/v2/token", nil, "Authorization", "Basic YWRtaW46d3Jvbmc=").refused(401, "UNAUTHORIZED").
		header("Www-Authenticate", `Basic realm="granary"`)
	r.do("admin", "POST", "/v2/", nil).refused(405, "UNSUPPORTED")
	r.do("admin", "GET", "/v2/nowhere/app/manifests/x", nil).refused(404, "NAME_UNKNOWN")
	r.do("admin", "GET", "/v2/%2e%2e/x", nil).refused(400, "NAME_INVALID")
}

func TestRegistryPushPull(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	m := r.pushImage("admin", "hub/team/app", "v1", strings.Repeat("layer", 10_000))
	for _, ref := range []string{"v1", shaOf(m)} {
		r.do("admin", "GET", "/v2/hub/team/app/manifests/"+ref, nil).status(200).is(m).
			header("Content-Type", imageType).header("Docker-Content-Digest", shaOf(m))
		r.do("admin", "HEAD", "/v2/hub/team/app/manifests/"+ref, nil).status(200).is("").
			header("Content-Length", fmt.Sprint(len(m))).header("Docker-Content-Digest", shaOf(m))
	}
	r.do("admin", "GET", "/v2/hub/team/app/blobs/"+shaOf("{}"), nil, "Range", "bytes=1-1").status(206).is("}")
	r.do("admin", "GET", "/v2/hub/team/app/blobs/"+shaOf("none"), nil).refused(404, "BLOB_UNKNOWN")
	r.do("admin", "GET", "/v2/hub/team/app/manifests/none", nil).refused(404, "MANIFEST_UNKNOWN")
	r.do("admin", "GET", "/v2/hub/team/app/tags/list", nil).status(200).is(`{"name":"hub/team/app","tags":["v1"]}`)
	r.do("admin", "GET", "/v2/hub/none/tags/list", nil).refused(404, "NAME_UNKNOWN")
	// An image without a name of its own, and the same below /repository/.
	r.pushImage("admin", "hub", "v1", "short")
	r.do("admin", "GET", "/v2/hub/tags/list", nil).status(200).is(`{"name":"hub","tags":["v1"]}`)
	r.do("admin", "GET", "/repository/hub/v2/team/app/manifests/v1", nil).status(200).is(m)
	r.do("admin", "GET", "/repository/hub/v2/team/app/manifests/v2", nil).refused(404, "MANIFEST_UNKNOWN")
	r.do("admin", "GET", "/repository/hub/team/app/tags/v1", nil).status(404) // listed there, but no path of the protocol
	r.do("admin", "GET", "/repository/hub/team/app/manifests/v1", nil).status(200).is(m)

	// Deleting a tag leaves the manifest, deleting the manifest takes its tags.
	r.do("admin", "PUT", "/v2/hub/team/app/manifests/v2", strings.NewReader(m), "Content-Type", imageType).status(201)
	r.do("admin", "DELETE", "/v2/hub/team/app/manifests/v1", nil).status(202)
	r.do("admin", "DELETE", "/v2/hub/team/app/manifests/v1", nil).refused(404, "MANIFEST_UNKNOWN")
	r.do("admin", "GET", "/v2/hub/team/app/manifests/"+shaOf(m), nil).status(200)
	r.do("admin", "DELETE", "/v2/hub/team/app/manifests/"+shaOf(m), nil).status(202)
	r.do("admin", "GET", "/v2/hub/team/app/manifests/v2", nil).refused(404, "MANIFEST_UNKNOWN")
	r.do("admin", "DELETE", "/v2/hub/team/app/blobs/"+shaOf("{}"), nil).status(202)
	r.do("admin", "PUT", "/v2/hub/team/app/manifests/v2", strings.NewReader(m), "Content-Type", imageType).refused(400, "MANIFEST_BLOB_UNKNOWN")
}

// BuildKit exports its cache as an index of layers and a configuration, which are
// blobs.
func TestRegistryBuildCache(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	layer, settings := r.pushBlob("admin", "hub/app", "layer"), r.pushBlob("admin", "hub/app", "{}")
	const indexType = "application/vnd.oci.image.index.v1+json"
	index := func(mediaType, layer string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":5},{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":%q,"size":2}]}`,
			indexType, mediaType, layer, settings)
	}
	put := func(m string) *answer {
		return r.do("admin", "PUT", "/v2/hub/app/manifests/cache", strings.NewReader(m), "Content-Type", indexType)
	}
	m := index("application/vnd.oci.image.layer.v1.tar+gzip", layer)
	put(m).status(201)
	r.do("admin", "GET", "/v2/hub/app/manifests/cache", nil).status(200).is(m)
	put(index("application/vnd.oci.image.layer.v1.tar+gzip", shaOf("none"))).refused(400, "MANIFEST_BLOB_UNKNOWN")
	put(index(imageType, layer)).refused(400, "MANIFEST_BLOB_UNKNOWN") // said to be a manifest
}

func TestRegistryBadInput(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	put := func(ref, mediaType, body string) *answer {
		return r.do("admin", "PUT", "/v2/hub/a/manifests/"+ref, strings.NewReader(body), "Content-Type", mediaType)
	}
	put("v1", imageType, `{`).refused(400, "MANIFEST_INVALID")
	put("v1", "application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1}`).refused(400, "MANIFEST_INVALID")
	put("v1", imageType, `{"schemaVersion":2,"x":"`+strings.Repeat("x", 33<<20)+`"}`).refused(413, "SIZE_INVALID")
	put("a%20b", imageType, `{}`).refused(400, "TAG_INVALID")
	put("sha256:12", imageType, `{}`).refused(400, "DIGEST_INVALID")
	put(shaOf("other"), "application/vnd.odd", "odd").refused(400, "DIGEST_INVALID")
	put("odd", "application/vnd.odd", "odd").status(201)
	r.do("admin", "GET", "/v2/hub/a/manifests/odd", nil).status(200).is("odd").header("Content-Type", "application/vnd.odd")
	r.do("admin", "GET", "/v2/hub/UPPER/tags/list", nil).refused(400, "NAME_INVALID")
	r.do("admin", "POST", "/v2/hub/a/blobs/uploads/?digest="+shaOf("x"), strings.NewReader("y")).refused(400, "DIGEST_INVALID")
	r.do("admin", "GET", "/v2/hub/a/blobs/"+shaOf("x"), nil).refused(404, "BLOB_UNKNOWN")
	r.do("admin", "GET", "/v2/hub/a/blobs/"+shaOf("y"), nil).refused(404, "BLOB_UNKNOWN")
	r.do("admin", "POST", "/v2/hub/a/blobs/uploads/?digest=md5:00", nil).refused(400, "DIGEST_INVALID")
	r.do("admin", "GET", "/v2/hub/a/tags/list?n=x", nil).refused(400, "PAGINATION_NUMBER_INVALID")
	r.do("admin", "PUT", "/v2/hub/a/tags/list", nil).refused(405, "UNSUPPORTED").header("Allow", "GET, HEAD")
}

// session begins an upload and returns its path.
func (r *rig) session(image string) string {
	r.t.Helper()
	a := r.do("admin", "POST", "/v2/"+image+"/blobs/uploads/", nil).status(202).header("Range", "0-0")
	loc := a.Header.Get("Location")
	if !strings.HasPrefix(loc, "/v2/"+image+"/blobs/uploads/") || a.Header.Get("Docker-Upload-Uuid") == "" {
		r.t.Errorf("location %q", loc)
	}
	return loc
}

func TestRegistryChunks(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	r.Create("other", config.Hosted, "docker", nil)
	whole := strings.Repeat("0123456789", 10_000)
	patch := func(loc, body string, header ...string) *answer {
		return r.do("admin", "PATCH", loc, strings.NewReader(body), header...)
	}
	loc := r.session("hub/a")
	patch(loc, whole[:40_000], "Content-Range", "0-39999").status(202).header("Range", "0-39999")
	patch(loc, whole[50_000:], "Content-Range", "50000-99999").refused(416, "BLOB_UPLOAD_INVALID").header("Range", "0-39999").header("Location", loc)
	patch(loc, whole[:40_000], "Content-Range", "0-39999").refused(416, "BLOB_UPLOAD_INVALID")
	patch(loc, "xy", "Content-Range", "40000-40009").refused(400, "SIZE_INVALID")
	patch(loc, "xy", "Content-Range", "nonsense").refused(400, "BLOB_UPLOAD_INVALID")
	patch(loc, whole[40_000:40_010]).status(202).header("Range", "0-40009") // streamed
	r.do("admin", "GET", loc, nil).status(204).header("Range", "0-40009")
	// Not through another image or repository, nor as one that was not begun.
	for _, elsewhere := range []string{strings.Replace(loc, "/hub/a/", "/hub/b/", 1), strings.Replace(loc, "/hub/a/", "/other/a/", 1), loc[:len(loc)-1] + "z"} {
		r.do("admin", "GET", elsewhere, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
		r.do("admin", "PUT", elsewhere+"?digest="+shaOf(whole), nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	}
	r.do("admin", "PUT", loc, nil).refused(400, "DIGEST_INVALID")
	r.do("admin", "PUT", loc+"?digest="+shaOf(whole), strings.NewReader(whole[40_010:])).status(201).
		header("Location", "/v2/hub/a/blobs/"+shaOf(whole)).header("Docker-Content-Digest", shaOf(whole))
	r.do("admin", "GET", "/v2/hub/a/blobs/"+shaOf(whole), nil).status(200).is(whole)
	// Its answer may have been lost.
	r.do("admin", "PUT", loc+"?digest="+shaOf(whole), nil).status(201)
	r.do("admin", "PUT", loc+"?digest="+shaOf("other"), nil).refused(409, "UNKNOWN")
	r.do("admin", "GET", loc, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	patch(loc, "more").refused(409, "UNKNOWN")

	// One chunk, and a digest that needs reading back.
	for _, name := range []string{shaOf(whole[:70_000]), "sha512:" + hexSHA512(whole[:70_000])} {
		loc = r.session("hub/a")
		patch(loc, whole[:70_000]).status(202)
		r.do("admin", "PUT", loc+"?digest="+name, nil).status(201)
		r.do("admin", "GET", "/v2/hub/a/blobs/"+name, nil).status(200).is(whole[:70_000]).header("Docker-Content-Digest", name)
	}
	// A wrong digest drops what was sent; so does cancelling.
	loc = r.session("hub/a")
	patch(loc, "wrong").status(202)
	r.do("admin", "PUT", loc+"?digest="+shaOf("right"), nil).refused(400, "DIGEST_INVALID")
	r.do("admin", "GET", loc, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	loc = r.session("hub/a")
	patch(loc, "abc").status(202)
	r.do("admin", "DELETE", loc, nil).status(204)
	r.do("admin", "PUT", loc+"?digest="+shaOf("abc"), nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	// All at the end, and nothing at all.
	loc = r.session("hub/a")
	r.do("admin", "PUT", loc+"?digest="+shaOf("at once"), strings.NewReader("at once")).status(201)
	loc = r.session("hub/a")
	r.do("admin", "PUT", loc+"?digest="+shaOf(""), nil).status(201)
	r.do("admin", "GET", "/v2/hub/a/blobs/"+shaOf(""), nil).status(200).is("")
}

func TestRegistryRights(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"hub", "private"} {
		r.Create(name, config.Hosted, "docker", nil)
	}
	m := r.pushImage("admin", "hub/a", "v1", "layer of hub")
	r.pushImage("admin", "private/a", "v1", "layer of private")
	r.user("reader", "read", "hub")
	r.user("pusher", "read", "hub", "write", "hub")
	r.do("reader", "GET", "/v2/hub/a/manifests/v1", nil).status(200)
	r.do("reader", "PUT", "/v2/hub/a/manifests/v2", strings.NewReader(m)).refused(403, "DENIED")
	for _, name := range []string{"private/a", "missing/a"} { // alike
		r.do("reader", "GET", "/v2/"+name+"/manifests/v1", nil).refused(403, "DENIED")
		r.do("", "GET", "/v2/"+name+"/manifests/v1", nil).refused(401, "UNAUTHORIZED").
			header("Www-Authenticate", `Bearer realm="http://example.com/v2/token",service="granary",scope="repository:`+name+`:pull"`)
	}
	// Tokens have the scopes asked for, cut down to the owner's rights.
	pull := r.registryToken("reader", "&scope=repository:hub/a:pull,push&scope=repository:private/a:pull")
	r.bearer(pull, "GET", "/v2/hub/a/manifests/v1", nil).status(200)
	r.bearer(pull, "PUT", "/v2/hub/a/manifests/v2", strings.NewReader(m)).refused(403, "DENIED")
	r.bearer(pull, "GET", "/v2/private/a/manifests/v1", nil).refused(403, "DENIED")
	if h := r.bearer(pull, "GET", "/v2/hub/b/manifests/v1", nil).refused(401, "UNAUTHORIZED").Header.Get("Www-Authenticate"); !strings.Contains(h, `scope="repository:hub/b:pull",error="insufficient_scope"`) {
		t.Errorf("challenge %s", h)
	}
	r.bearer(r.registryToken("reader", ""), "GET", "/v2/hub/a/manifests/v1", nil).refused(401, "UNAUTHORIZED")
	// They are good here and nowhere else, and API sessions are good here too.
	r.bearer(pull, "GET", "/api/v1/repositories", nil).status(401)
	r.bearer(r.registryToken("admin", "&scope=repository:hub/a:*"), "GET", "/api/v1/users", nil).status(401)
	// Mounting needs reading the source.
	from := shaOf("layer of private")
	r.do("pusher", "POST", "/v2/hub/b/blobs/uploads/?mount="+from+"&from=private/a", nil).status(202)
	r.do("pusher", "GET", "/v2/hub/b/blobs/"+from, nil).refused(404, "BLOB_UNKNOWN")
	r.do("admin", "POST", "/v2/hub/b/blobs/uploads/?mount="+from+"&from=private/a", nil).status(201).header("Location", "/v2/hub/b/blobs/"+from)
	r.do("pusher", "GET", "/v2/hub/b/blobs/"+from, nil).status(200).is("layer of private")
	own := shaOf("layer of hub")
	narrow := r.registryToken("pusher", "&scope=repository:hub/c:pull,push")
	r.bearer(narrow, "POST", "/v2/hub/c/blobs/uploads/?mount="+own+"&from=hub/a", nil).status(202) // not in its scopes
	wide := r.registryToken("pusher", "&scope=repository:hub/c:pull,push%20repository:hub/a:pull")
	r.bearer(wide, "POST", "/v2/hub/c/blobs/uploads/?mount="+own+"&from=hub/a", nil).status(201)

	// The catalog is filtered.
	r.do("admin", "GET", "/v2/_catalog", nil).status(200).is(`{"repositories":["hub/a","private/a"]}`)
	r.do("reader", "GET", "/v2/_catalog", nil).status(200).is(`{"repositories":["hub/a"]}`)
	r.do("", "GET", "/v2/_catalog", nil).refused(401, "UNAUTHORIZED")
	r.do("", "GET", "/v2/_catalog?n=0", nil).status(200).is(`{"repositories":[]}`)
	r.bearer(pull, "GET", "/v2/_catalog", nil).refused(401, "UNAUTHORIZED")
	r.bearer(r.registryToken("reader", "&scope=registry:catalog:*"), "GET", "/v2/_catalog", nil).status(200).is(`{"repositories":["hub/a"]}`)

	r.anyone("read", "hub")
	r.do("", "GET", "/v2/hub/a/manifests/v1", nil).status(200)
	r.bearer(r.registryToken("", "&scope=repository:hub/a:pull"), "GET", "/v2/hub/a/manifests/v1", nil).status(200)
	r.bearer(r.registryToken("", "&scope=repository:hub/a:push"), "POST", "/v2/hub/a/blobs/uploads/", nil).refused(401, "UNAUTHORIZED")
}

func TestRegistryTokenByPost(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	r.pushImage("admin", "hub/a", "v1", "layer")
	post := func(form url.Values) *answer {
		return r.do("", "POST", "/v2/token", strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	}
	var g struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		Scope        string
	}
	post(url.Values{
		"grant_type": {"password"}, "username": {"admin"}, "password": {adminPassword}, "service": {"granary"},
		"access_type": {"offline"}, "scope": {"repository:hub/a:pull"},
	}).status(200).header("Cache-Control", "no-store").decode(&g)
	if g.Scope != "repository:hub/a:pull" || g.RefreshToken == "" {
		t.Errorf("grant %+v", g)
	}
	r.bearer(g.AccessToken, "GET", "/v2/hub/a/manifests/v1", nil).status(200)
	refresh := g.RefreshToken
	r.bearer(refresh, "GET", "/v2/hub/a/manifests/v1", nil).refused(401, "UNAUTHORIZED")
	g.AccessToken = ""
	post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "scope": {"repository:hub/a:pull"}}).status(200).decode(&g)
	r.bearer(g.AccessToken, "GET", "/v2/hub/a/manifests/v1", nil).status(200)

	post(url.Values{"username": {"admin"}, "password": {adminPassword}}).status(200)
	post(url.Values{"username": {"admin"}, "password": {"wrong"}}).refused(401, "UNAUTHORIZED")
	post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"wrong"}}).refused(401, "UNAUTHORIZED")
	post(url.Values{"grant_type": {"implicit"}}).refused(400, "UNSUPPORTED")
	post(url.Values{"grant_type": {"password"}}).refused(401, "UNAUTHORIZED")
	r.do("", "POST", "/v2/token", strings.NewReader("{}"), "Content-Type", "application/json").refused(415, "UNKNOWN")
	r.do("admin", "GET", "/v2/token?scope=nonsense", nil).refused(400, "UNSUPPORTED")
	r.do("admin", "GET", "/v2/token?scope="+strings.Repeat("repository:hub/a:pull%20", 65), nil).refused(400, "UNSUPPORTED")
	r.do("admin", "DELETE", "/v2/token", nil).refused(405, "UNSUPPORTED")
	if _, err := r.auth.CreateUser(t.Context(), auth.NewUser{Username: "fresh", Password: "password", MustChangePassword: true}); err != nil {
		t.Fatal(err)
	}
	r.do("fresh", "GET", "/v2/token", nil).refused(403, "DENIED")
}

func TestRegistryPages(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	r.Create("hub-2", config.Hosted, "docker", nil)
	for _, image := range []string{"hub/a", "hub/a/b", "hub/a-b/c", "hub/a-b", "hub/a0", "hub-2/x", "hub/tags/manifests"} {
		m := r.pushImage("admin", image, "v1", "layer")
		for _, tag := range []string{"latest", "v10", "V2"} {
			r.do("admin", "PUT", "/v2/"+image+"/manifests/"+tag, strings.NewReader(m), "Content-Type", imageType).status(201)
		}
	}
	want := []string{"hub-2/x", "hub/a", "hub/a-b", "hub/a-b/c", "hub/a/b", "hub/a0", "hub/tags/manifests"}
	if got := r.pages("/v2/_catalog?n=2", "repositories"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("catalog %q, want %q", got, want)
	}
	if got := r.pages("/v2/hub/a/tags/list?n=1", "tags"); strings.Join(got, " ") != "V2 latest v1 v10" {
		t.Errorf("tags %q", got)
	}
	if got := r.pages("/v2/hub/a/tags/list?last=latest", "tags"); strings.Join(got, " ") != "v1 v10" {
		t.Errorf("tags behind latest %q", got)
	}
	r.do("admin", "GET", "/v2/hub/a/tags/list?n=0", nil).status(200).is(`{"name":"hub/a","tags":[]}`).header("Link", "")
	if got := r.pages("/repository/hub/v2/_catalog?n=3", "repositories"); len(got) != 6 || got[5] != "tags/manifests" || got[0] != "a" {
		t.Errorf("catalog of one repository %q", got)
	}
}

// pages follows the links of a listing.
func (r *rig) pages(target, field string) []string {
	r.t.Helper()
	var all []string
	for target != "" && len(all) < 100 {
		var page map[string]json.RawMessage
		a := r.do("admin", "GET", target, nil).status(200).decode(&page)
		var names []string
		if err := json.Unmarshal(page[field], &names); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, names...)
		target, _, _ = strings.Cut(strings.TrimPrefix(a.Header.Get("Link"), "<"), ">")
	}
	return all
}

func TestRegistryReferrers(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	m := r.pushImage("admin", "hub/a", "v1", "layer")
	config := r.pushBlob("admin", "hub/a", "{}")
	refer := func(kind, note string) string {
		s := fmt.Sprintf(`{"schemaVersion":2,"artifactType":%q,"config":{"mediaType":"e","digest":%q,"size":2},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"note":%q}}`,
			kind, config, imageType, shaOf(m), len(m), note)
		r.do("admin", "PUT", "/v2/hub/a/manifests/"+shaOf(s), strings.NewReader(s), "Content-Type", imageType).status(201).header("OCI-Subject", shaOf(m))
		return shaOf(s)
	}
	var list struct {
		MediaType string
		Manifests []struct {
			Digest, ArtifactType string
			Annotations          map[string]string
		}
	}
	look := func(query string) *answer {
		list.Manifests = nil
		return r.do("admin", "GET", "/v2/hub/a/referrers/"+shaOf(m)+query, nil).status(200).
			header("Content-Type", "application/vnd.oci.image.index.v1+json").decode(&list)
	}
	if look(""); len(list.Manifests) != 0 || list.Manifests == nil {
		t.Errorf("nothing refers: %+v", list)
	}
	sbom, big := refer("sbom", "short"), refer("signature", strings.Repeat("long", 20_000))
	if look(""); len(list.Manifests) != 2 {
		t.Errorf("two refer: %+v", list.Manifests)
	}
	look("?artifactType=signature").header("OCI-Filters-Applied", "artifactType")
	if len(list.Manifests) != 1 || list.Manifests[0].Digest != big || len(list.Manifests[0].Annotations["note"]) != 80_000 {
		t.Errorf("a signature refers: %+.200v", list.Manifests)
	}
	// What a client of an older registry has listed under a tag.
	tagged := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":%q,"artifactType":"old"},{"digest":%q}]}`, shaOf(m), sbom)
	r.do("admin", "PUT", "/v2/hub/a/manifests/"+strings.Replace(shaOf(m), ":", "-", 1), strings.NewReader(tagged),
		"Content-Type", "application/vnd.oci.image.index.v1+json").status(201)
	if look(""); len(list.Manifests) != 3 {
		t.Errorf("three refer: %+v", list.Manifests)
	}
	r.do("admin", "DELETE", "/v2/hub/a/manifests/"+big, nil).status(202)
	if look("?artifactType=signature"); len(list.Manifests) != 0 {
		t.Errorf("the signature is gone: %+v", list.Manifests)
	}
	r.do("admin", "GET", "/v2/hub/a/referrers/sha256:1", nil).refused(400, "DIGEST_INVALID")
}

func TestRegistryResolution(t *testing.T) {
	r := newRig(t)
	hub := r.Create("hub", config.Hosted, "docker", nil)
	r.Create("own", config.Hosted, "docker", func(c *config.Repository) { c.Listen = "images.example.com" })
	r.Create("files", config.Hosted, "raw", nil)
	r.pushImage("admin", "hub/a", "v1", "in hub")
	r.pushImage("admin", "own/a", "v1", "in own")
	r.do("admin", "GET", "/v2/a/manifests/v1", nil).refused(404, "NAME_UNKNOWN")
	r.do("admin", "GET", "/v2/files/a/manifests/v1", nil).refused(404, "NAME_UNKNOWN")
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.DefaultDockerRepo = hub.ID; return nil }); err != nil {
		t.Fatal(err)
	}
	r.do("admin", "GET", "/v2/a/tags/list", nil).status(200).is(`{"name":"a","tags":["v1"]}`)
	r.do("admin", "GET", "/v2/own/a/manifests/v1", nil).status(200)
	m := r.pushImage("admin", "nested/in/default", "v1", "x")
	r.do("admin", "GET", "/v2/hub/nested/in/default/manifests/v1", nil).status(200).is(m)
	// By the name of the host.
	req := httptest.NewRequestWithContext(t.Context(), "GET", "http://images.example.com/v2/a/tags/list", nil)
	req.SetBasicAuth("admin", adminPassword)
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code != http.StatusOK || !bytes.Contains(w.Body.Bytes(), []byte(`"v1"`)) {
		t.Errorf("by host name: %d %s", w.Code, w.Body)
	}
	// A port of a repository's own is the listener opened for it, not another
	// that has the number.
	r.Create("ported", config.Hosted, "docker", func(c *config.Repository) { c.Listen = "5000" })
	r.pushImage("admin", "ported/b", "v1", "in ported")
	at := func(h http.Handler) int {
		req := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{Port: 5000}), "GET", "/v2/b/tags/list", nil)
		req.SetBasicAuth("admin", adminPassword)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Code
	}
	if got := at(registry.OnListener(":5000", r.handler)); got != http.StatusOK {
		t.Errorf("at the repository's listener: %d", got)
	}
	if got := at(r.handler); got != http.StatusNotFound {
		t.Errorf("at another listener of the same port: %d, want 404", got)
	}
	// containerd names the registry that it would ask itself.
	r.Cache("mirror", "docker", "http://127.0.0.1:1/", 3600)
	r.do("admin", "GET", "/v2/library/x/manifests/v1?ns=127.0.0.1:1", nil).refused(502, "UNKNOWN")
	r.do("admin", "GET", "/v2/library/x/manifests/v1?ns=elsewhere.example.com", nil).refused(404, "MANIFEST_UNKNOWN")
}

func hexSHA512(s string) string {
	sum := sha512.Sum512([]byte(s))
	return hex.EncodeToString(sum[:])
}
