package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"granary/httpapi"
	"granary/httpapi/registry"
	"granary/httpapi/rest"
	"granary/kv"
	"granary/repo"
	"granary/telemetry"
)

func serveCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run a server", Args: cobra.NoArgs,
		Long: `Run a server. With nothing configured it listens on :8080 and keeps everything
in ./data. SIGTERM or Ctrl-C lets running requests end, for shutdown_timeout.`,
		Example: "  granary serve --data /var/lib/granary --listen 127.0.0.1:8080",
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := o.load()
			if err != nil {
				return err
			}
			return serve(c.Context(), &conf, c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&o.listen, "listen", "", "address of the plain listener (:8080)")
	return c
}

// logFlush is how long a line of the request log may wait in memory.
const logFlush = time.Second

func serve(ctx context.Context, c *Config, stderr io.Writer) (err error) {
	level, err := logLevel(c.LogLevel)
	if err != nil {
		return err
	}
	defer reserveHeadroom()()
	lines := telemetry.NewWriter(stderr, 64<<10, logFlush)
	defer func() { err = errors.Join(err, lines.Close()) }()
	out, err := openOutlook(c, level, slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}), telemetry.NewLines(lines))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	log := out.log
	unknown, err := unknownVariables(os.Environ())
	if err != nil {
		return err
	}
	for _, name := range unknown {
		log.Warn("an environment variable is none of the configuration's and changes nothing", "name", name)
	}

	// The listeners come first: an address in use ends the start before it
	// has touched the data, and so before the first password is made up. So
	// does a certificate that can't be read.
	l, err := listen(c)
	if err != nil {
		return err
	}
	defer l.close()
	cert := &certificate{cert: c.HTTPS.Cert, key: c.HTTPS.Key, log: log}
	if l.https != nil {
		if err := cert.load(); err != nil {
			return err
		}
	}
	n, err := startNode(ctx, c, out)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		err = errors.Join(err, n.close(ctx))
	}()
	metrics, err := telemetry.NewMetrics()
	if err != nil {
		return err
	}
	if err := n.register(metrics); err != nil {
		return err
	}
	h, err := n.handler(n.auth, &surface{metrics, out})
	if err != nil {
		return err
	}
	greet(stderr, n, l)
	settled := time.AfterFunc(settleTime, func() {
		debug.FreeOSMemory()
		if err := releaseProgramPages(); err != nil {
			log.Debug("release what the start has needed", "error", err)
		}
	})
	defer settled.Stop()
	// Event streams would keep the server from stopping.
	defer context.AfterFunc(ctx, n.feed.Close)()
	return l.serve(ctx, c, h, metrics.Handler(), log, cert, newPorts(n.registry.Listening, h, c, log).run)
}

// settleTime is how long after a start its memory is given back.
const settleTime = time.Second

// closeTime bounds writing back counters and leaving the cluster.
const closeTime = 10 * time.Second

// surface is what the public HTTP surface has beside the one for
// initialization.
type surface struct {
	metrics *telemetry.Metrics
	*outlook
}

// handler is the HTTP surface for those whom a knows.
func (n *node) handler(a httpapi.Authenticator, s *surface) (http.Handler, error) {
	c := httpapi.Config{
		Auth: a, Repositories: n.repos, Formats: n.formats, Audit: n.audit, Settings: n.registry.Settings, Version: version, Origin: n.origin,
		REST: rest.Config{
			Auth: n.auth, Registry: n.registry, Repositories: n.repos, Version: version, Ready: n.member.Ready, Events: n.feed, Tasks: n.tasks, Members: n.member,
			Webhooks: n.hooks, Audit: n.audit, Explainer: n.explainer(), StoreUsage: n.storeUsage,
		},
		Ready: n.member.Ready, Expand: repo.Expand, MetricsElsewhere: n.config.MetricsListen != "", Log: n.log, Now: wallClock,
	}
	var err error
	if c.Registry, err = n.registrySurface(); err != nil {
		return nil, err
	}
	if s != nil {
		c.Metrics, c.RequestLog, c.Traces = s.metrics, s.requests, s.traces
	}
	return httpapi.New(c)
}

// registrySurface answers below /v2 for the format that has such a surface.
func (n *node) registrySurface() (*registry.Surface, error) {
	for _, f := range n.formats {
		if format, ok := f.(registry.Format); ok {
			return registry.New(registry.Config{
				Format: format, Repositories: n.repos, Registry: n.registry, Users: n.auth, Settings: n.registry.Settings, Now: wallClock,
			})
		}
	}
	return nil, nil //nolint:nilnil // there is none without the format
}

// greet says where the server is, the password that nobody else knows, and how
// to go on.
func greet(w io.Writer, n *node, l *listeners) {
	url := l.url()
	fmt.Fprintf(w, "granary %s serves on %s\n", version, url)
	if n.first.Warning != "" {
		fmt.Fprintln(w, "warning:", n.first.Warning)
	}
	if n.first.Password == "" {
		return
	}
	password := string(n.first.Password)
	fmt.Fprintf(w, "user admin, password %s — shown once; it has to be changed first:\n", password)
	fmt.Fprintf(w, `  curl -u admin:%s -H 'Content-Type: application/json' -d '{"username":"admin","current_password":"%s","new_password":"NEW"}' %s/api/v1/auth/change-password`+"\n", password, password, url)
	if !kv.TraitsOf(n.kv).Embedded {
		return
	}
	fmt.Fprintf(w, "then make a repository and upload:\n")
	fmt.Fprintf(w, `  curl -u admin:NEW -H 'Content-Type: application/json' -d '{"name":"files","repo_type":"hosted","format":"raw"}' %s/api/v1/repositories && curl -u admin:NEW -T FILE %s/repository/files/`+"\n", url, url)
}

// listeners are the sockets of a server; those not configured are nil.
type listeners struct {
	http, https, metrics net.Listener
}

func listen(c *Config) (*listeners, error) {
	l := &listeners{}
	for _, x := range []struct {
		to      *net.Listener
		address string
	}{{&l.http, c.HTTP.Listen}, {&l.https, c.HTTPS.Listen}, {&l.metrics, c.MetricsListen}} {
		if x.address == "" {
			continue
		}
		var err error
		if *x.to, err = net.Listen("tcp", x.address); err != nil {
			l.close()
			return nil, fmt.Errorf("listen on %s: %w", x.address, err)
		}
	}
	return l, nil
}

func (l *listeners) close() {
	for _, x := range []net.Listener{l.http, l.https, l.metrics} {
		if x != nil {
			x.Close() //nolint:errcheck // closed by its server before
		}
	}
}

func (l *listeners) url() string {
	x, scheme := l.http, "http"
	if x == nil {
		x, scheme = l.https, "https"
	}
	host, port, err := net.SplitHostPort(x.Addr().String())
	if err != nil {
		return scheme + "://" + x.Addr().String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// serve answers on all listeners, and does what is to be done also, until ctx
// ends or one of them fails.
func (l *listeners) serve(ctx context.Context, c *Config, h, metrics http.Handler, log *slog.Logger, cert *certificate, also func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return also(ctx) })
	run := func(x net.Listener, sc httpapi.ServerConfig) {
		if x == nil {
			return
		}
		sc.Shutdown, sc.Log = c.ShutdownTimeout, log
		s := httpapi.NewServer(sc)
		g.Go(func() error { return s.Serve(x) })
		g.Go(func() error {
			<-ctx.Done()
			return s.Close(context.WithoutCancel(ctx))
		})
	}
	run(l.http, httpapi.ServerConfig{Handler: h})
	if l.https != nil {
		run(l.https, httpapi.ServerConfig{Handler: h, TLS: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	run(l.metrics, httpapi.ServerConfig{Handler: mux})
	return g.Wait()
}
