package httpapi

import "net/http"

// need is who a route is for.
type need string

const (
	public     need = "public"     // everybody, without a log-in; what the caller may not see is left out
	self       need = "self"       // who is logged in, also before the password was changed
	login      need = "login"      // who is logged in
	account    need = "account"    // who is logged in, not by a limited token
	list       need = "list"       // who may read anything in the repository; the rest is left out
	read       need = "read"       // who may read the repository, or the path
	write      need = "write"      // likewise
	remove     need = "delete"     // likewise
	configure  need = "configure"  // who has the right admin on the repository
	administer need = "administer" // who has the role admin
)

// routeTable lists every route of the router with who it is for. One that is
// not here fails TestRoutes, as does one that is here and is no route.
//
// A repository's name in a template is that of a hosted raw repository, and in a
// second pass that of none: both must be refused alike. A query may follow the
// template. Routes of formats are in formatTable.
var routeTable = map[string]need{
	"GET /live":                           public,
	"GET /healthz":                        public,
	"GET /ready":                          public,
	"GET /health":                         public,
	"GET /api/v1/health":                  public,
	"GET /metrics":                        login,
	"GET /api-docs/openapi.json":          login,
	"GET /swagger-ui":                     login,
	"GET /swagger-ui/":                    login,
	"GET /swagger-ui/granary.js":          login,
	"GET /swagger-ui/{asset:[a-z0-9.-]+}": login,

	"GET /_/oidc/audience":                                    public,
	"POST /_/oidc/mint-token":                                 public,
	"POST /-/npm/v1/oidc/token/exchange/package/{package:.+}": public, // by the ID token that it carries: TestPublishers

	"POST /api/v1/auth/login":                     public,
	"POST /api/v1/auth/change-password":           self,
	"POST /api/v1/auth/revoke-all":                administer,
	"GET /api/v1/users":                           administer,
	"POST /api/v1/users":                          administer,
	"GET /api/v1/users/{username}":                administer,
	"PUT /api/v1/users/{username}":                administer,
	"DELETE /api/v1/users/{username}":             administer,
	"POST /api/v1/users/{username}/revoke-tokens": administer, // and for the user: TestRevokeTokens
	"GET /api/v1/roles":                           administer,
	"POST /api/v1/roles":                          administer,
	"GET /api/v1/roles/{name}":                    administer,
	"PUT /api/v1/roles/{name}":                    administer,
	"DELETE /api/v1/roles/{name}":                 administer,
	"GET /api/v1/tokens":                          account,
	"POST /api/v1/tokens":                         account,
	"DELETE /api/v1/tokens/{id}":                  account,
	"GET /api/v1/backup":                          administer,
	"POST /api/v1/restore":                        administer,
	"GET /api/v1/tasks":                           administer,
	"GET /api/v1/tasks/scheduler":                 administer,
	"POST /api/v1/tasks/check":                    administer,
	"POST /api/v1/tasks/gc":                       administer,
	"POST /api/v1/tasks/rebuild-dir-entries":      administer,
	"GET /api/v1/tasks/{id}":                      administer, // and for who started it: TestTasks
	"DELETE /api/v1/tasks/{id}":                   administer,
	"POST /api/v1/tasks/{id}/cancel":              administer,
	"GET /api/v1/cluster":                         administer,
	"GET /api/v1/settings":                        administer,
	"PUT /api/v1/settings":                        administer,
	"POST /api/v1/auth/oidc/exchange":             public,
	"GET /api/v1/auth/oidc/login":                 public,
	"GET /api/v1/auth/oidc/callback":              public,
	"POST /api/v1/settings/reseal":                administer,
	"GET /api/v1/settings/oidc":                   administer,
	"PUT /api/v1/settings/oidc":                   administer,
	"DELETE /api/v1/settings/oidc":                administer,
	"GET /api/v1/settings/ldap":                   administer,
	"PUT /api/v1/settings/ldap":                   administer,
	"DELETE /api/v1/settings/ldap":                administer,
	"POST /api/v1/settings/ldap/test":             administer,
	"GET /api/v1/stores":                          administer,
	"POST /api/v1/stores":                         administer,
	"GET /api/v1/stores/{name}":                   administer,
	"PUT /api/v1/stores/{name}":                   administer,
	"DELETE /api/v1/stores/{name}":                administer,
	"POST /api/v1/stores/{name}/check":            administer,
	"GET /api/v1/stores/{name}/browse":            administer,
	"GET /api/v1/stores/{name}/blobs/{id}":        administer,
	"GET /api/v1/events/stream":                   login,
	"GET /api/v1/audit":                           administer,
	"GET /api/v1/webhooks":                        administer,
	"POST /api/v1/webhooks":                       administer,
	"GET /api/v1/webhooks/{id}":                   administer,
	"PUT /api/v1/webhooks/{id}":                   administer,
	"DELETE /api/v1/webhooks/{id}":                administer,
	"POST /api/v1/webhooks/{id}/test":             administer,
	"GET /api/v1/webhooks/{id}/deliveries":        administer,

	"GET /api/v1/repositories":                                public,
	"POST /api/v1/repositories":                               administer,
	"GET /api/v1/repositories/{name}":                         list,
	"PUT /api/v1/repositories/{name}":                         configure,
	"DELETE /api/v1/repositories/{name}":                      configure,
	"POST /api/v1/repositories/{name}/rename":                 configure,
	"GET /api/v1/repositories/{repo}/artifacts":               list,
	"GET /api/v1/repositories/{repo}/download-archive":        list,
	"POST /api/v1/repositories/{name}/clone":                  administer,
	"POST /api/v1/repositories/{name}/clean":                  configure,
	"POST /api/v1/repositories/{name}/move":                   administer,
	"POST /api/v1/repositories/{name}/bulk-delete":            remove,
	"POST /api/v1/repositories/{name}/promote":                list, // and write on the target: TestPromoteRights
	"GET /api/v1/repositories/{name}/snapshots":               read,
	"POST /api/v1/repositories/{name}/snapshots":              write,
	"DELETE /api/v1/repositories/{name}/snapshots/{snapshot}": remove,

	"GET /api/v1/repositories/{name}/signing-keys":                  read,
	"POST /api/v1/repositories/{name}/signing-keys":                 configure,
	"DELETE /api/v1/repositories/{name}/signing-keys/{fingerprint}": configure,

	"GET /api/v1/repositories/{name}/quarantine":           read,
	"POST /api/v1/repositories/{name}/quarantine":          configure,
	"DELETE /api/v1/repositories/{name}/quarantine/{item}": configure,

	"GET /service/rest/v1/status":                                   public,
	"GET /service/rest/v1/repositories":                             login,
	"GET /service/rest/v1/assets?repository={repo}":                 read,
	"GET /service/rest/v1/search/assets?repository={repo}":          read,
	"GET /service/rest/v1/search/assets/download?repository={repo}": read,
	"GET /service/rest/v1/components?repository={repo}":             read,
	"GET /service/rest/v1/search?repository={repo}":                 read,
	"POST /service/rest/v1/components?repository={repo}":            write,
	"GET /service/rest/v1/components/{id}":                          read,
	"DELETE /service/rest/v1/components/{id}":                       remove,
	"GET /service/rest/v1/assets/{id}":                              read,
	"DELETE /service/rest/v1/assets/{id}":                           remove,
}

// formatRoute is a request below a repository of a format: the label of the
// operation that Route makes of it, and the right that this needs.
type formatRoute struct {
	method, path, label string
	needs               need
}

// formatTable has for each format a request of every label. A label constant of
// a format without one fails TestFormatRoutes; those which no request of the
// format's own leads to are in unrouted.
var formatTable = map[string][]formatRoute{
	"apt": {
		{http.MethodGet, "dists/stable/InRelease", "release", read},
		{http.MethodGet, "dists/stable/main/binary-amd64/Packages", "index", read},
		{http.MethodGet, "pool/main/h/hello/hello_1.0_all.deb", "package", read},
		{http.MethodGet, "public.key", "key", read},
		{http.MethodGet, "setup.sh", "key", read},
		{http.MethodGet, "distributions", "distributions", read},
		{http.MethodPost, "upload", "upload", write},
		{http.MethodPost, "", "upload", write},
		{http.MethodPut, "pool/stable/main/upload", "upload", write},
		{http.MethodPut, "hello.deb;deb.distribution=stable", "upload", write},
		{http.MethodPost, "snapshots", "snapshot", write},
		{http.MethodDelete, "pool/main/h/hello/hello_1.0_all.deb", "package", remove},
		{http.MethodDelete, "dists/stable", "drop distribution", remove},
		{http.MethodPut, "dists/stable", "distribution", write},
		{http.MethodDelete, "pool/stable/main/hello/1.0/amd64", "listed package", remove},
	},
	"docker": {
		{http.MethodGet, "app/manifests/v1", "manifest", read},
		{http.MethodPut, "app/manifests/v1", "manifest", write},
		{http.MethodDelete, "app/manifests/v1", "manifest", remove},
		{http.MethodGet, "app/blobs/" + someDigest, "blob", read},
		{http.MethodDelete, "app/blobs/" + someDigest, "blob", remove},
		{http.MethodPost, "app/blobs/uploads/", "blob upload", write},
		{http.MethodPatch, "app/blobs/uploads/id", "blob upload", write},
		{http.MethodGet, "app/tags/list", "tags", read},
		{http.MethodGet, "app/referrers/" + someDigest, "referrers", read},
		{http.MethodGet, "_catalog", "catalog", read},
		{http.MethodGet, "UPPER/tags/list", "invalid", read},
	},
	"yum": {
		{http.MethodGet, "el9/repodata/repomd.xml", "repomd", read},
		{http.MethodGet, "el9/repodata/primary.xml.gz", "metadata", read},
		{http.MethodGet, "repomd.xml.key", "key", read},
		{http.MethodGet, "el9/own.repo", "repo file", read},
		{http.MethodGet, "el9/repodata/mirrorlist", "mirrorlist", read},
		{http.MethodGet, "el9/Packages/hello-1.0-1.noarch.rpm", "package", read},
		{http.MethodGet, "el9/.treeinfo", "file", read},
		{http.MethodPost, "upload", "upload", write},
		{http.MethodPost, "", "upload", write},
		{http.MethodPut, "el9/Packages/hello-1.0-1.noarch.rpm", "package", write},
		{http.MethodDelete, "el9/Packages/hello-1.0-1.noarch.rpm", "package", remove},
		{http.MethodPut, "el9/comps.xml", "extra metadata", write},
		{http.MethodDelete, "el9/comps.xml", "extra metadata", remove},
		{http.MethodPost, "snapshots", "snapshot", write},
		{http.MethodDelete, "snapshots/one", "drop snapshot", remove},
	},
	"raw": {
		{http.MethodGet, "x/y", "file", read},
		{http.MethodPut, "x/y", "file", write},
		{http.MethodDelete, "x/y", "file", remove},
		{http.MethodPost, "x", "form", write},
		{http.MethodGet, "x/", "directory", read},
		{http.MethodGet, "", "directory", read},
		{http.MethodGet, "x/y?sha256", "checksum sha256", read},
	},
	"golang": {
		{http.MethodGet, "example.com/m/@v/list", "list", read},
		{http.MethodGet, "example.com/m/@latest", "latest", read},
		{http.MethodGet, "example.com/m/@v/v1.0.0.info", "info", read},
		{http.MethodGet, "example.com/m/@v/v1.0.0.mod", "mod", read},
		{http.MethodGet, "example.com/m/@v/v1.0.0.zip", "zip", read},
		{http.MethodGet, "example.com/m/@v/nonsense", "none", read},
		{http.MethodGet, "sumdb/sum.example.com/latest", "sumdb", read},
		{http.MethodPost, "upload", "upload", write},
		{http.MethodPut, "upload", "upload", write},
		{http.MethodPut, "example.com/m/@v/v1.0.0.zip", "zip", write},
		{http.MethodDelete, "example.com/m/@v/v1.0.0.zip", "zip", remove},
	},
	"npm": {
		{http.MethodGet, "lib", "packument", read},
		{http.MethodGet, "lib/1.0.0", "manifest", read},
		{http.MethodGet, "@corp/lib/-/lib-1.0.0.tgz", "tarball", read},
		{http.MethodPut, "lib", "publish", write},
		{http.MethodPut, ".lib", "bad name", write},
		{http.MethodPut, "lib/-rev/1-x", "unpublish", remove},
		{http.MethodDelete, "lib/-rev/1-x", "package", remove},
		{http.MethodDelete, "lib/-/lib-1.0.0.tgz/-rev/1-x", "tarball", remove},
		{http.MethodGet, "-/package/lib/dist-tags", "tags", read},
		{http.MethodPut, "-/package/lib/dist-tags/x", "tag", write},
		{http.MethodDelete, "-/package/lib/dist-tags/x", "tag", remove},
		{http.MethodGet, "-/v1/search", "search", read},
		{http.MethodGet, "-/ping", "ping", read},
		{http.MethodGet, "-/npm/v1/keys", "keys", read},
		{http.MethodGet, "-/npm/v1/attestations/lib@1.0.0", "attestations", read},
		{http.MethodPost, "-/npm/v1/security/advisories/bulk", "audit", read},
		{http.MethodPost, "-/v1/login", "none", read},
		{http.MethodGet, "-/whoami", "whoami", read},
		{http.MethodGet, "-/npm/v1/user", "user", read},
	},
	"pypi": {
		{http.MethodGet, "simple/", "root", read},
		{http.MethodGet, "simple/lib/", "project", read},
		{http.MethodGet, "simple/Lib/", "redirect", read},
		{http.MethodGet, "simple/lib/?format=x/y", "unacceptable", read},
		{http.MethodGet, "packages/lib/1.0/lib-1.0.tar.gz", "file", read},
		{http.MethodGet, "packages/lib/1.0/lib-1.0-py3-none-any.whl.metadata", "metadata", read},
		{http.MethodGet, "packages/lib/1.0/lib-1.0.tar.gz.asc", "signature", read},
		{http.MethodGet, "integrity/lib/1.0/lib-1.0.tar.gz/provenance", "provenance", read},
		{http.MethodGet, "pypi/lib/json", "json", read},
		{http.MethodPost, "", "upload", write},
		{http.MethodPost, "packages/lib/1.0/yank", "yank", write},
		{http.MethodPost, "packages/lib/1.0/unyank", "unyank", write},
		{http.MethodDelete, "packages/lib/1.0", "version", remove},
		{http.MethodDelete, "packages/lib/1.0/lib-1.0.tar.gz", "file", remove},
	},
	"cargo": {
		{http.MethodGet, "config.json", "config", read},
		{http.MethodGet, "se/rd/serde", "index", read},
		{http.MethodGet, "me", "me", read},
		{http.MethodGet, "info/refs", "git index", read},
		{http.MethodPost, "git-upload-pack", "git index", read},
		{http.MethodGet, "crates/serde/serde-1.0.0.crate", "download", read},
		{http.MethodGet, "api/v1/crates/serde/1.0.0/download", "download", read},
		{http.MethodGet, "api/v1/crates?q=x", "search", read},
		{http.MethodGet, "api/v1/crates/serde/owners", "owners", read},
		{http.MethodPut, "api/v1/crates/new", "publish", write},
		{http.MethodDelete, "api/v1/crates/serde/1.0.0/yank", "yank", write},
		{http.MethodPut, "api/v1/crates/serde/1.0.0/unyank", "unyank", write},
		{http.MethodPut, "api/v1/crates/serde/owners", "add owners", write},
		{http.MethodDelete, "api/v1/crates/serde/owners", "remove owners", write},
		{http.MethodDelete, "api/v1/crates/serde/1.0.0", "version", remove},
	},
	"helm": {
		{http.MethodGet, "index.yaml", "index", read},
		{http.MethodGet, "lib-1.0.0.tgz", "chart", read},
		{http.MethodGet, "charts/lib-1.0.0.tgz", "chart", read},
		{http.MethodGet, "lib-1.0.0.tgz.prov", "prov", read},
		{http.MethodGet, "api/charts", "api", read},
		{http.MethodGet, "api/charts/lib/1.0.0", "api", read},
		{http.MethodPut, "lib-1.0.0.tgz", "chart", write},
		{http.MethodPut, "charts/lib-1.0.0.tgz.prov", "prov", write},
		{http.MethodPost, "upload", "upload", write},
		{http.MethodPost, "api/charts", "push", write},
		{http.MethodPost, "api/charts?force", "push", write},
		{http.MethodPost, "api/prov", "push prov", write},
		{http.MethodDelete, "lib-1.0.0.tgz", "chart", remove},
		{http.MethodDelete, "lib-1.0.0.tgz.prov", "prov", remove},
		{http.MethodDelete, "api/charts/lib/1.0.0", "chart", remove},
	},
}

// unrouted are labels of operations that other surfaces make.
var unrouted = map[string][]string{
	"apt":  {"component"}, // POST /service/rest/v1/components
	"raw":  {"component"},
	"helm": {"component"},
	"pypi": {"component"},
	// Those of accounts judge credentials themselves: TestNpmAccounts.
	"npm": {"component", "no keys", "login", "logout", "tokens"},
}

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// registryTable lists what the registry surface answers, and who for. Tokens
// are for everybody but who must change the password first:
// TestRegistryTokenByPost.
var registryTable = []struct {
	method, path string
	needs        need
}{
	{http.MethodGet, "/v2/", login},
	{http.MethodGet, "/v2/_catalog", login}, // less what the caller may not read; nobody is asked to log in where nothing is left
	{http.MethodGet, "/v2/{repo}/app/tags/list", read},
	{http.MethodGet, "/v2/{repo}/tags/list", read},
	{http.MethodGet, "/v2/{repo}/app/manifests/v1", read},
	{http.MethodHead, "/v2/{repo}/app/manifests/v1", read},
	{http.MethodPut, "/v2/{repo}/app/manifests/v1", write},
	{http.MethodDelete, "/v2/{repo}/app/manifests/v1", remove},
	{http.MethodGet, "/v2/{repo}/app/blobs/" + someDigest, read},
	{http.MethodDelete, "/v2/{repo}/app/blobs/" + someDigest, remove},
	{http.MethodGet, "/v2/{repo}/app/referrers/" + someDigest, read},
	{http.MethodPost, "/v2/{repo}/app/blobs/uploads/", write},
	{http.MethodGet, "/v2/{repo}/app/blobs/uploads/id", write},
	{http.MethodPatch, "/v2/{repo}/app/blobs/uploads/id", write},
	{http.MethodPut, "/v2/{repo}/app/blobs/uploads/id?digest=" + someDigest, write},
	{http.MethodDelete, "/v2/{repo}/app/blobs/uploads/id", write},
	{http.MethodGet, "/v2/{repo}/UPPER/tags/list", read},
	{http.MethodGet, "/v2/{repo}/nothing", read},
	{http.MethodPost, "/v2/{repo}/nothing", write},
}
