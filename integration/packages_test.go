package integration_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"granary/integration/component"
)

func TestHelmClient(t *testing.T) {
	dir := component.Helm(t)
	clients(t, "testdata/helm", func(e *testscript.Env) {
		e.Setenv("PATH", dir+string(os.PathListSeparator)+e.Getenv("PATH"))
		for _, k := range []string{"CACHE", "CONFIG", "DATA"} {
			e.Setenv("HELM_"+k+"_HOME", filepath.Join(e.WorkDir, "helm", k))
		}
	})
}

func TestCargoClient(t *testing.T) {
	if _, err := exec.LookPath("cargo"); err != nil {
		need(t, "cargo")
	}
	clients(t, "testdata/cargo", func(e *testscript.Env) {
		// The machine's own may replace sources.
		e.Setenv("CARGO_HOME", filepath.Join(e.WorkDir, "cargohome"))
		e.Setenv("CARGO_TERM_COLOR", "never")
		e.Setenv("CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS", "cargo:token")
	})
}

// pack makes a gzip-compressed tar of names and contents in turn.
func pack(files ...string) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644})
		if err == nil {
			_, err = io.WriteString(w, files[i+1])
		}
		if err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), z.Close())
	return buf.Bytes(), err
}

// publish calls send for versions 1.0.0, 1.1.0, … at the same time. args are
// their number, a name, and repositories that are used in turn.
func publish(ts *testscript.TestScript, args []string, send func(name, version, repository string) error) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	name, repositories := args[1], args[2:]
	together(ts, n, func(i int) error {
		return send(name, fmt.Sprintf("1.%d.0", i), repositories[i%len(repositories)])
	})
}

// charts N NAME URL… publishes N versions of a Helm chart.
func charts(ts *testscript.TestScript, _ bool, args []string) {
	publish(ts, args, func(name, version, repository string) error {
		b, err := pack(name+"/Chart.yaml", fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version))
		if err == nil {
			_, err = send(ts, http.MethodPost, repository+"/api/charts", "application/gzip", b)
		}
		return err
	})
}

// crates N NAME URL… publishes N versions of a crate whose name() tells them
// apart.
func crates(ts *testscript.TestScript, _ bool, args []string) {
	publish(ts, args, func(name, version, repository string) error {
		root := name + "-" + version + "/"
		b, err := pack(root+"Cargo.toml", fmt.Sprintf("[package]\nname = %q\nversion = %q\nedition = \"2021\"\n", name, version),
			root+"src/lib.rs", fmt.Sprintf("pub fn name() -> &'static str { %q }\n", name+" "+version))
		if err != nil {
			return err
		}
		said := fmt.Sprintf(`{"name":%q,"vers":%q,"deps":[],"features":{}}`, name, version)
		body := append(binary.LittleEndian.AppendUint32(nil, uint32(len(said))), said...)
		body = append(binary.LittleEndian.AppendUint32(body, uint32(len(b))), b...)
		_, err = send(ts, http.MethodPut, repository+"/api/v1/crates/new", "application/octet-stream", body)
		return err
	})
}
