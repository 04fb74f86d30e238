package component

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Docker returns the address of a Docker daemon of the tests' own, for
// DOCKER_HOST. It has no networks, keeps its images beside its socket, and
// speaks HTTP with registries on the loop-back addresses. Tests that want the same
// more flags share it. It needs root.
func Docker(t testing.TB, flags ...string) string {
	t.Helper()
	daemon := system(t, "dockerd")
	if os.Geteuid() != 0 {
		missing(t, "a Docker daemon needs root")
	}
	p := serve(t, command{
		name: strings.Join(append([]string{"dockerd"}, flags...), " "),
		args: func(_ int, dir string) []string {
			return append([]string{
				daemon, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
				"--pidfile", filepath.Join(dir, "pid"), "--host", "unix://" + filepath.Join(dir, socket),
				// Images of a few files need no layers on layers, which not every file system has.
				"--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none",
			}, flags...)
		},
		check:  listening,
		gentle: true, // it has mounts to undo
	})
	return "unix://" + filepath.Join(p.dir, socket)
}

// Containerd returns the socket of a containerd of the tests' own, for ctr. It
// needs root.
func Containerd(t testing.TB) string {
	t.Helper()
	daemon := system(t, "containerd")
	if os.Geteuid() != 0 {
		missing(t, "containerd needs root")
	}
	config := filepath.Join(t.TempDir(), "config.toml")
	// Pods are not needed, nor what would ask for the system's places for them.
	if err := os.WriteFile(config, []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, command{
		name: "containerd",
		args: func(_ int, dir string) []string {
			return []string{
				daemon, "--config", config, "--root", filepath.Join(dir, "root"), "--state", filepath.Join(dir, "state"),
				"--address", filepath.Join(dir, socket),
			}
		},
		check:  listening,
		gentle: true,
	})
	return filepath.Join(p.dir, socket)
}

// socket is where daemons listen, in their directory.
const socket = "daemon.sock"

func listening(ctx context.Context, dir string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", filepath.Join(dir, socket))
	if err != nil {
		return err
	}
	return conn.Close()
}

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
