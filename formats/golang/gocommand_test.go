package golang_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"

	"granary/formats"
	"granary/formats/formattest"
)

// proxy serves a store as the core would; what the store lacks below sumdb/
// comes from a database, checked as a cache checks it.
func proxy(t *testing.T, s *formattest.Store, database http.Handler) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := s.Do(r.Method, r.URL.EscapedPath(), r.Header, nil)
		if err != nil && database != nil {
			if body, upstreamErr := ask(t, database, strings.TrimPrefix(r.URL.Path, "/")); upstreamErr == nil {
				a, err = &formattest.Answer{Body: body}, nil
			}
		}
		switch {
		case errors.Is(err, formats.ErrNotFound):
			format().Fail(w, r, http.StatusNotFound, err.Error())
		case err != nil:
			format().Fail(w, r, http.StatusInternalServerError, err.Error())
		default:
			w.Write(a.Body) //nolint:errcheck // the go command tells
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func ask(t *testing.T, database http.Handler, path string) ([]byte, error) {
	op, ok := format().Route(formats.Req{Method: "GET", Path: path})
	if !ok || op.Label != "sumdb" {
		return nil, formats.ErrNotFound
	}
	if op.Name == "supported" {
		return nil, nil
	}
	w := httptest.NewRecorder()
	database.ServeHTTP(w, httptest.NewRequest("GET", strings.TrimPrefix("/"+path, "/sumdb/sum.example.com"), nil))
	if w.Code != http.StatusOK {
		return nil, formats.ErrNotFound
	}
	if err := format().Verify(t.Context(), op, formattest.NewBytes(w.Body.Bytes()), nil); err != nil {
		t.Errorf("%s: a real answer is refused: %v", path, err)
	}
	return w.Body.Bytes(), nil
}

// run runs the go command with a module cache of its own.
func run(t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal(err) // a test runs by it
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-modcacherw", "GOMODCACHE="+filepath.Join(dir, "cache"), "GOPATH="+filepath.Join(dir, "path"),
		"GOTOOLCHAIN=local", "GOPRIVATE=", "GONOPROXY=none", "GONOSUMDB=none", "GOSUMDB=off", "GOINSECURE=", "GOWORK=off", "GOVCS=*:off", "GOAUTH=off")
	cmd.Env = append(cmd.Env, env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

func TestGoCommand(t *testing.T) {
	s := formattest.NewStore(t, format())
	const name = "example.com/Upper/m"
	for _, version := range []string{"v1.0.0", "v1.1.0-rc.1", "v0.9.0"} {
		body := formattest.Module(t, name, version, map[string]string{"m.go": "package m\n"})
		if _, err := s.Do("PUT", "upload", nil, body); err != nil {
			t.Fatal(err)
		}
	}
	pseudo := "v0.0.0-20240101000000-abcdefabcdef"
	if _, err := s.Do("PUT", "upload", nil, formattest.Module(t, "example.com/pseudo", pseudo, nil)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env := []string{"GOPROXY=" + proxy(t, s, nil).URL}
	for query, want := range map[string]string{
		name + "@latest": "v1.0.0", name + "@v1.1.0-rc.1": "v1.1.0-rc.1", name + "@v0": "v0.9.0", "example.com/pseudo@latest": pseudo,
	} {
		out, err := run(t, dir, env, "mod", "download", "-json", query)
		var got struct{ Version, Sum, Zip string }
		if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.Version != want {
			t.Errorf("%s: %v\n%s", query, err, out)
		}
		if rec, err := formattest.NewTx(t, s).Record(t.Context(), "example.com/!upper/m/@v", want+".zip"); err == nil && !strings.Contains(string(rec.Meta), got.Sum) {
			t.Errorf("%s: hash %s, ours %s", query, got.Sum, rec.Meta)
		}
	}
	if out, err := run(t, dir, env, "list", "-m", "-versions", name); err != nil || out != name+" v0.9.0 v1.0.0 v1.1.0-rc.1\n" {
		t.Errorf("versions: %q, %v", out, err)
	}
	if _, err := run(t, dir, env, "mod", "download", "example.com/none@v1.0.0"); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("unknown module: %v", err)
	}
}

// The go command finds the checksum database through the repository, and is
// stopped by it when a module is another than the database knows.
func TestGoCommandChecksumDatabase(t *testing.T) {
	secret, public, err := note.GenerateKey(nil, "sum.example.com")
	if err != nil {
		t.Fatal(err)
	}
	const evil = "example.com/evil"
	s := formattest.NewStore(t, format())
	sums, mods := map[string]string{}, map[string]string{}
	for _, name := range []string{mod, evil} {
		a, err := s.Do("PUT", "upload", nil, formattest.Module(t, name, "v1.0.0", nil))
		if err != nil {
			t.Fatal(err)
		}
		var meta struct{ H1 string }
		if err := json.Unmarshal(a.Records[0].Meta, &meta); err != nil {
			t.Fatal(err)
		}
		sums[name] = meta.H1
		mods[name], err = dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(get(t, s, name+"/@v/v1.0.0.mod"))), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sums[evil] = sums[mod]
	db := sumdb.NewTestServer(secret, func(path, version string) ([]byte, error) {
		return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, sums[path], path, version, mods[path]), nil
	})
	dir := t.TempDir()
	env := []string{"GOPROXY=" + proxy(t, s, sumdb.NewServer(db)).URL, "GOSUMDB=" + public}
	if out, err := run(t, dir, env, "mod", "download", "-json", mod+"@v1.0.0"); err != nil {
		t.Errorf("a module as the database has it: %v\n%s", err, out)
	}
	if out, err := run(t, dir, env, "mod", "download", "-json", evil+"@v1.0.0"); err == nil || !strings.Contains(err.Error()+out, "checksum mismatch") {
		t.Errorf("another module than the database has: %v\n%s", err, out)
	}
}
