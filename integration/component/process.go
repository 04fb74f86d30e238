package component

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	freeport "granary/integration/port"
)

// readyWithin bounds the start of a server on a machine busy with other tests.
const readyWithin = 90 * time.Second

// gentleWait is how long a server that was asked to end may take.
const gentleWait = 20 * time.Second

// command is how a server is started on a port of 127.0.0.1.
type command struct {
	name string
	// args is the program and its arguments; dir is a directory of the
	// server's own, removed when it has stopped.
	args func(port int, dir string) []string
	dirs []string // made in it before the start
	// path answers an HTTP GET, whatever the status, once the server is ready.
	path string
	// check, in the place of path, tells whether the server is ready.
	check func(ctx context.Context, dir string) error
	// gentle asks the server to end and gives it time, before it is killed.
	gentle bool
}

// process is a running server.
type process struct {
	endpoint string // http://127.0.0.1:port
	dir      string
	pid      int
	gentle   bool
	output   tail
	done     chan struct{} // closed when the process was waited for; err is set then
	err      error
}

// launch starts c on a free port, which somebody else may take before c listens: a
// server that ends while it starts is given another.
func launch(ctx context.Context, c command) (*process, error) {
	var err error
	for range 3 {
		var port int
		if port, err = freeport.Free(); err != nil {
			return nil, err
		}
		var p *process
		if p, err = spawn(c, port); err != nil {
			return nil, err
		}
		if err = p.ready(ctx, c); err == nil {
			return p, nil
		}
		p.stop()
		err = fmt.Errorf("%s: %w; its output:\n%s", c.name, err, p.output.String())
		if !errors.Is(err, errEnded) {
			break
		}
	}
	return nil, err
}

// spawn starts c in a process group of its own. The goroutine that starts it
// keeps its thread until the process has ended: Linux kills the process when
// the thread dies that made it, not only when the tests do.
func spawn(c command, port int) (*process, error) {
	dir, err := os.MkdirTemp("", "granary-component-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for %s: %w", c.name, err)
	}
	for _, d := range c.dirs {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("make a directory for %s: %w", c.name, err)
		}
	}
	args := c.args(port, dir)
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // the arguments are ours; stop ends it
	cmd.Dir = dir
	cmd.SysProcAttr = ownGroup()
	cmd.WaitDelay = 5 * time.Second
	p := &process{endpoint: "http://127.0.0.1:" + strconv.Itoa(port), dir: dir, gentle: c.gentle, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(p.done)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return p, nil
}

var errEnded = errors.New("ended while it started")

// ready waits until the server answers.
func (p *process) ready(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	check := c.check
	if check == nil {
		check = func(ctx context.Context, _ string) error { return answers(ctx, p.endpoint+c.path) }
	}
	for {
		select {
		case <-p.done:
			return fmt.Errorf("%w: %v", errEnded, p.err) //nolint:errorlint // may be nil
		case <-ctx.Done():
			return fmt.Errorf("not ready on %s: %w", p.endpoint, ctx.Err())
		case <-tick.C:
		}
		if err := check(ctx, p.dir); err != nil {
			continue
		}
		select {
		case <-p.done: // what answered was somebody else on our port
			return fmt.Errorf("%w: %v", errEnded, p.err) //nolint:errorlint // may be nil
		default:
			return nil
		}
	}
}

// answers asks for a URL and is content with any status.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Body.Close()
}

// stop kills the process group, waits for the process and removes its files.
func (p *process) stop() {
	wait := time.Duration(1) // if it has ended already the pid may be another's
	if p.gentle && !p.ended(wait) {
		terminate(p.pid)
		wait = gentleWait
	}
	if !p.ended(wait) {
		killGroup(p.pid)
		<-p.done
	}
	_ = os.RemoveAll(p.dir)
}

// ended tells whether the process has ended, or does within a time.
func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	default:
	}
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// shared are the servers of this test binary, by name; nil without [Run].
var shared struct {
	mu      sync.Mutex // guards running, not the servers in it
	running map[string]*once
}

// once is one server that is started by the first test that asks.
type once struct {
	sync.Once
	p   *process
	err error
}

// Run runs the tests of a binary, lets them share servers, and stops these
// when it returns what the binary should exit with.
func Run(m interface{ Run() int }) int {
	shared.mu.Lock()
	shared.running = map[string]*once{}
	shared.mu.Unlock()
	defer func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		for _, o := range shared.running {
			if o.p != nil {
				o.p.stop()
			}
		}
		shared.running = nil
	}()
	return m.Run()
}

// serve returns the shared server of c, or one that ends with t.
func serve(t testing.TB, c command) *process {
	t.Helper()
	o := new(once)
	shared.mu.Lock()
	if shared.running != nil {
		if shared.running[c.name] == nil {
			shared.running[c.name] = o
		}
		o = shared.running[c.name]
	} else {
		t.Cleanup(func() {
			if o.p != nil {
				o.p.stop()
			}
		})
	}
	shared.mu.Unlock()
	o.Do(func() {
		// Not t.Context: the server outlives the test that happened to be first.
		o.p, o.err = launch(context.Background(), c)
	})
	if o.err != nil {
		t.Fatal(o.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last output of %s:\n%s", c.name, o.p.output.String())
		}
	})
	return o.p
}

// tail is a writer that keeps the last lines of a server's output.
type tail struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

const tailSize = 16 << 10

func (o *tail) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	if over := o.buf.Len() - tailSize; over > 0 {
		o.buf.Next(over)
	}
	return len(b), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(o.buf.String())
}
