package integration_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"granary/integration/component"
	"granary/integration/node"
)

// The scripts of a folder run with an ecosystem's own clients against two nodes
// ($A, $B), and a third ($U) that these have for an upstream by way of $ORIGIN,
// which counts and can be cut off.
func TestPythonClients(t *testing.T) {
	dir := component.Clients(t, "python")
	clients(t, "testdata/python", func(e *testscript.Env) {
		e.Setenv("PATH", filepath.Join(dir, "bin")+string(os.PathListSeparator)+e.Getenv("PATH"))
		for k, v := range map[string]string{
			"PIP_CONFIG_FILE": os.DevNull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_NO_CACHE_DIR": "1",
			"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": filepath.Join(dir, "bin", "python"),
			"PYTHONDONTWRITEBYTECODE": "1", "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "NO_COLOR": "1", "TERM": "dumb",
		} {
			e.Setenv(k, v)
		}
	})
}

func TestNpmClients(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		need(t, "node")
	}
	dir := component.Clients(t, "npm")
	clients(t, "testdata/npm", func(e *testscript.Env) {
		modules := filepath.Join(dir, "node_modules")
		e.Setenv("PATH", filepath.Join(modules, ".bin")+string(os.PathListSeparator)+e.Getenv("PATH"))
		for k, v := range map[string]string{
			"YARN1": filepath.Join(modules, "yarn", "bin", "yarn.js"), "BERRY": filepath.Join(modules, "@yarnpkg", "cli-dist", "bin", "yarn.js"),
			"npm_config_userconfig": filepath.Join(e.WorkDir, "npmrc"), "npm_config_globalconfig": filepath.Join(e.WorkDir, "none"),
			"npm_config_cache": filepath.Join(e.WorkDir, "npmcache"), "npm_config_update_notifier": "false", "npm_config_fund": "false",
			"npm_config_audit": "false", "npm_config_store_dir": filepath.Join(e.WorkDir, "pnpmstore"), "YARN_CACHE_FOLDER": filepath.Join(e.WorkDir, "yarncache"),
			"YARN_ENABLE_TELEMETRY": "0", "YARN_ENABLE_GLOBAL_CACHE": "0", "YARN_IGNORE_PATH": "1", "COREPACK_ENABLE_STRICT": "0", "NO_COLOR": "1", "NODE_OPTIONS": "",
		} {
			e.Setenv(k, v)
		}
	})
}

// npmrc BASE [TOKEN] makes BASE the registry of npm, pnpm and both yarns.
func npmrc(ts *testscript.TestScript, _ bool, args []string) {
	base := strings.TrimSuffix(args[0], "/") + "/"
	rc := "registry=" + base + "\n"
	berry := "npmRegistryServer: " + base + "\nunsafeHttpWhitelist: [127.0.0.1]\nnodeLinker: node-modules\nnpmMinimalAgeGate: 0\nenableImmutableInstalls: false\n"
	if len(args) > 1 {
		rc += strings.TrimPrefix(base, "http:") + ":_authToken=" + args[1] + "\nalways-auth=true\n" // which yarn 1 wants
		berry += "npmAuthToken: " + args[1] + "\nnpmAlwaysAuth: true\n"
	}
	for name, text := range map[string]string{"npmrc": rc, ".npmrc": rc, ".yarnrc.yml": berry} {
		ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), name), []byte(text), 0o600))
	}
}

// npmlogin BASE sets $NPMTOKEN as npm's log-in with a name and a password does.
func npmLogin(ts *testscript.TestScript, _ bool, args []string) {
	body, err := json.Marshal(map[string]string{"name": "admin", "password": ts.Getenv("PASSWORD")})
	ts.Check(err)
	req, err := http.NewRequest(http.MethodPut, args[0]+"/-/user/org.couchdb.user:admin", bytes.NewReader(body))
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"token"`
	}
	ts.Check(json.NewDecoder(resp.Body).Decode(&answer))
	if resp.StatusCode != http.StatusCreated || answer.Token == "" {
		ts.Fatalf("log-in: %s", resp.Status)
	}
	ts.Setenv("NPMTOKEN", answer.Token)
}

// npmburst N NAME URL… publishes N versions of a package at the same time, in
// turn to the URLs.
func npmBurst(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	name, targets := args[1], args[2:]
	together(ts, n, func(i int) error {
		version := fmt.Sprintf("1.%d.0", i)
		doc, err := npmDocument(name, version)
		if err != nil {
			return err
		}
		_, err = send(ts, http.MethodPut, targets[i%len(targets)]+"/"+name, "application/json", doc)
		return err
	})
}

// npmDocument is what npm sends to publish a package of one file.
func npmDocument(name, version string) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	text := fmt.Sprintf(`{"name":%q,"version":%q}`, name, version)
	err := w.WriteHeader(&tar.Header{Name: "package/package.json", Size: int64(len(text)), Mode: 0o644})
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"name": name, "dist-tags": map[string]string{"latest": version},
		"versions":     map[string]any{version: map[string]any{"name": name, "version": version}},
		"_attachments": map[string]any{name + "-" + version + ".tgz": map[string]any{"data": buf.Bytes()}},
	})
}

// origin is an upstream that counts what it is asked for.
type origin struct {
	URL    string
	server *httptest.Server

	mu    sync.Mutex
	asked []string // guarded by mu
	alone bool     // a node may have fetched for itself, guarded by mu
}

// nodeWaits is how long a node waits for what another one fetches, before it
// fetches for itself.
const nodeWaits = 5 * time.Second

func newOrigin(t *testing.T, to string) *origin {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // links lead through here
	}}
	o.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r.Method+" "+r.URL.Path)
		o.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(o.down)
	o.URL = o.server.URL
	return o
}

func (o *origin) down() {
	o.server.CloseClientConnections()
	o.server.Close()
}

// clients runs the scripts of a folder.
func clients(t *testing.T, scripts string, setup func(*testscript.Env)) {
	t.Helper()
	nodes := node.Cluster(t, 2)
	up := node.Start(t, node.Options{})
	files, err := filepath.Glob(scripts + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", scripts, err)
	}
	for _, file := range files {
		o := newOrigin(t, up.URL)
		walkIn(t, testscript.Params{Files: []string{file}, Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"upstream": o.upstream, "fetched": o.fetched, "atonce": o.atOnce, "wheel": wheel, "burst": burst, "apitoken": apiToken,
			"npmrc": npmrc, "npmlogin": npmLogin, "npmburst": npmBurst, "charts": charts, "crates": crates,
		}}, nodes[0], nodes[1], func(e *testscript.Env) {
			e.Setenv("U", up.URL)
			e.Setenv("ORIGIN", o.URL)
			for name, base := range map[string]string{"HOSTA": nodes[0].URL, "HOSTB": nodes[1].URL} {
				e.Setenv(name, strings.TrimPrefix(base, "http://"))
			}
			e.Setenv("HOME", e.WorkDir)
			setup(e)
		})
	}
}

// upstream down: it refuses connections from now on.
func (o *origin) upstream(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 || args[0] != "down" {
		ts.Fatalf("usage: upstream down")
	}
	o.down()
}

// fetched PATTERN N fails unless so many requests of the upstream matched, or up
// to twice as many where atonce took so long that each node went for itself.
func (o *origin) fetched(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	pattern := regexp.MustCompile(args[0])
	o.mu.Lock()
	defer o.mu.Unlock()
	var got []string
	for _, a := range o.asked {
		if pattern.MatchString(a) {
			got = append(got, a)
		}
	}
	most := want
	if o.alone {
		most = 2 * want
	}
	if len(got) < want || len(got) > most {
		ts.Fatalf("%d requests match %s, want %d: %q", len(got), args[0], want, got)
	}
}

// atonce N URL… sends N GETs, in turn to the URLs, at the same time; all must be
// answered with the same bytes.
func (o *origin) atOnce(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	bodies := make([]string, n)
	began := time.Now()
	together(ts, n, func(i int) error {
		body, err := send(ts, http.MethodGet, args[1+i%(len(args)-1)], "", nil)
		bodies[i] = body
		return err
	})
	o.mu.Lock()
	o.alone = o.alone || time.Since(began) >= nodeWaits
	o.mu.Unlock()
	for _, b := range bodies {
		if b != bodies[0] || b == "" {
			ts.Fatalf("%d bytes and %d bytes for the same path", len(b), len(bodies[0]))
		}
	}
}

// together calls f(0) … f(n-1) at the same time.
func together(ts *testscript.TestScript, n int, f func(i int) error) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	ts.Check(errors.Join(errs...))
}

// send makes one request as admin and wants a 2xx.
func send(ts *testscript.TestScript, method, target, contentType string, body []byte) (string, error) {
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth("admin", ts.Getenv("PASSWORD"))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, target, resp.Status, b)
	}
	return string(b), err
}

// apitoken VERB REPOSITORY sets $APITOKEN to a new one that may do no more.
func apiToken(ts *testscript.TestScript, _ bool, args []string) {
	var capabilities []string
	for _, verb := range strings.Split(args[0], ",") {
		capabilities = append(capabilities, fmt.Sprintf(`{"capability":%q,"repo":%q}`, verb, args[1]))
	}
	body := fmt.Sprintf(`{"name":"t%s","capabilities":[%s]}`, strings.ToLower(rand.Text()), strings.Join(capabilities, ","))
	answer, err := send(ts, http.MethodPost, ts.Getenv("A")+"/api/v1/tokens", "application/json", []byte(body))
	ts.Check(err)
	var made struct {
		Token string `json:"token"`
	}
	ts.Check(json.Unmarshal([]byte(answer), &made))
	if made.Token == "" {
		ts.Fatalf("no token in %s", answer)
	}
	ts.Setenv("APITOKEN", made.Token)
}

// wheel DIR NAME VERSION [TEXT] makes a wheel with one module that prints TEXT.
func wheel(ts *testscript.TestScript, _ bool, args []string) {
	text := args[2]
	if len(args) > 3 {
		text = args[3]
	}
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	b, err := wheelOf(args[1], args[2], text)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), args[1]+"-"+args[2]+"-py3-none-any.whl"), b, 0o644))
}

func wheelOf(name, version, text string) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	info := name + "-" + version + ".dist-info/"
	for _, f := range [][2]string{
		{name + ".py", fmt.Sprintf("print(%q)\n", name+" "+text)},
		{info + "METADATA", fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nRequires-Python: >=3.8\n", name, version)},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: granary\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", fmt.Sprintf("%s.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n", name, info, info, info)},
	} {
		p, err := w.Create(f[0])
		if err == nil {
			_, err = io.WriteString(p, f[1])
		}
		if err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

// burst N NAME URL… publishes N versions of a Python package at the same time,
// in turn to the URLs.
func burst(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	name, targets := args[1], args[2:]
	together(ts, n, func(i int) error {
		version := fmt.Sprintf("1.%d", i)
		b, err := wheelOf(name, version, version)
		if err != nil {
			return err
		}
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		p, err := w.CreateFormFile("content", name+"-"+version+"-py3-none-any.whl")
		if err == nil {
			_, err = p.Write(b)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			return err
		}
		_, err = send(ts, http.MethodPost, targets[i%len(targets)], w.FormDataContentType(), body.Bytes())
		return err
	})
}
