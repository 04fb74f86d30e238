package integration_test

import (
	"archive/zip"
	"bytes"
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
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

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

// origin is an upstream that counts what it is asked for.
type origin struct {
	URL    string
	server *httptest.Server

	mu    sync.Mutex
	asked []string // guarded by mu
}

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
			"upstream": o.upstream, "fetched": o.fetched, "atonce": atOnce, "wheel": wheel, "burst": burst, "apitoken": apiToken,
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

// fetched PATTERN N fails unless so many requests of the upstream matched.
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
	if len(got) != want {
		ts.Fatalf("%d requests match %s, want %d: %q", len(got), args[0], want, got)
	}
}

// atonce N URL… sends N GETs, in turn to the URLs, at the same time; all must be
// answered with the same bytes.
func atOnce(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	bodies := make([]string, n)
	together(ts, n, func(i int) error {
		body, err := send(ts, http.MethodGet, args[1+i%(len(args)-1)], "", nil)
		bodies[i] = body
		return err
	})
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
