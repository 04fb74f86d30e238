package component

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Docker returns the address of a Docker daemon of the tests' own, for
// DOCKER_HOST. It has no networks, keeps its images beside its socket, and
// speaks HTTP with registries on the loop-back addresses. It needs root.
func Docker(t testing.TB) string {
	t.Helper()
	daemon := system(t, "dockerd")
	if os.Geteuid() != 0 {
		missing(t, "a Docker daemon needs root")
	}
	p := serve(t, command{
		name: "dockerd",
		args: func(_ int, dir string) []string {
			return []string{
				daemon, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
				"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://" + filepath.Join(dir, socket),
				// Images of a few files need no layers on layers, which not every file system has.
				"--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none",
			}
		},
		check: func(ctx context.Context, dir string) error {
			conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", filepath.Join(dir, socket))
			if err != nil {
				return err
			}
			return conn.Close()
		},
		gentle: true, // it has mounts to undo
	})
	return "unix://" + filepath.Join(p.dir, socket)
}

const socket = "docker.sock"

// system returns the path of a program that the distribution installs, also
// where only root's path has it.
func system(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	if err != nil {
		missing(t, "%s is not installed: run integration/install.sh debian (%v)", name, err)
	}
	return path
}
