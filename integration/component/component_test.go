package component

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

func TestServersListenOnLoopbackOnly(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{
		"DynamoDBLocal": DynamoDBLocal,
		"Dynalite":      Dynalite,
		"VersityGW":     func(t testing.TB) string { return VersityGW(t).Endpoint },
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			u, err := url.Parse(start(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("ready in %v", time.Since(began))
			if u.Hostname() != "127.0.0.1" {
				t.Errorf("endpoint %v", u)
			}
			if again := start(t); again != u.String() {
				t.Errorf("second call: %s, want the shared %s", again, u)
			}
			for _, addr := range otherAddresses(t) {
				c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, u.Port()), time.Second)
				if err == nil {
					_ = c.Close()
					t.Errorf("listens on %s too", addr)
				}
			}
		})
	}
}

// otherAddresses are this machine's addresses that are not of the loopback net.
func otherAddresses(t *testing.T) []string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			out = append(out, n.IP.String())
		}
	}
	return out
}

func TestVersityGWBuckets(t *testing.T) {
	a, b := VersityGW(t), VersityGW(t)
	if a.Bucket == b.Bucket {
		t.Fatalf("two calls returned the same bucket %s", a.Bucket)
	}
	curl := lookup(t, "curl", "curl")
	do := func(args ...string) string {
		t.Helper()
		args = append([]string{"-sS", "--fail-with-body", "--aws-sigv4", "aws:amz:" + a.Region + ":s3", "-u", a.AccessKey + ":" + a.SecretKey,
			"-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"}, args...)
		out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	do("-X", "PUT", "--data-binary", "hello", "-H", "Content-Type: text/plain", a.Endpoint+"/"+a.Bucket+"/k/x")
	if got := do(a.Endpoint + "/" + a.Bucket + "/k/x"); got != "hello" {
		t.Errorf("got %q", got)
	}
	if got := do(b.Endpoint + "/" + b.Bucket); strings.Contains(got, "<Contents>") {
		t.Errorf("second bucket is not empty: %s", got)
	}
}

func TestLaunchReportsWhatAServerSaid(t *testing.T) {
	sh := lookup(t, "sh", "a shell")
	starts := 0
	_, err := launch(t.Context(), command{name: "liar", path: "/", args: func(port int, _ string) []string {
		starts++
		return []string{sh, "-c", "echo cannot bind " + strconv.Itoa(port) + "; exit 3"}
	}})
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "cannot bind ") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("launch: %v", err)
	}
	if starts != 3 {
		t.Errorf("started %d times, want 3: the port may have been taken", starts)
	}
}

func TestStopEndsChildrenToo(t *testing.T) {
	sh := lookup(t, "sh", "a shell")
	p, err := spawn(command{name: "parent", args: func(int, string) []string {
		return []string{sh, "-c", "sleep 600 & echo child $!; wait"}
	}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var child int
	for end := time.Now().Add(time.Minute); child == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, ok := strings.CutPrefix(p.output.String(), "child "); ok {
			child, _ = strconv.Atoi(s)
		}
	}
	if child == 0 {
		t.Fatalf("no child: %s", p.output.String())
	}
	p.stop()
	p.stop() // twice is harmless
	if _, err := os.Stat(p.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory of a stopped server: %v", err)
	}
	for end := time.Now().Add(time.Minute); alive(child); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("child %d outlived its parent", child)
		}
	}
}

// alive says whether a process runs; one that nobody waited for does not.
func alive(pid int) bool {
	out, err := exec.CommandContext(context.Background(), "ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestTailKeepsTheEnd(t *testing.T) {
	var o tail
	for i := range 10_000 {
		if _, err := o.Write([]byte(strconv.Itoa(i) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if got := o.String(); len(got) > tailSize || !strings.HasSuffix(got, "\n9999") {
		t.Errorf("kept %d bytes ending in %q", len(got), got[max(0, len(got)-20):])
	}
}

func TestVersions(t *testing.T) {
	for _, name := range []string{"DYNAMODB_LOCAL", "DYNALITE", "VERSITYGW"} {
		if v, err := version(name); err != nil || v == "" {
			t.Errorf("version(%s) = %q, %v", name, v, err)
		}
	}
	if v, err := version("NOTHING"); err == nil {
		t.Errorf("version(NOTHING) = %q", v)
	}
}

// fakeTB records how a test ended.
type fakeTB struct {
	testing.TB
	skipped, failed string
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) Skipf(format string, args ...any) {
	f.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestMissingIsFatalInCI(t *testing.T) {
	for ci, fatal := range map[string]bool{"": false, "false": false, "true": true} {
		t.Setenv("CI", ci)
		var f fakeTB
		var wg sync.WaitGroup
		wg.Go(func() { missing(&f, "no %s", "server") })
		wg.Wait()
		if (f.failed == "no server") != fatal || (f.skipped == "no server") == fatal {
			t.Errorf("CI=%q: failed %q, skipped %q", ci, f.failed, f.skipped)
		}
	}
}
