package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"granary/httpapi"
	"granary/httpapi/registry"
	"granary/repo/config"
)

// ports keeps a listener open for each address that a repository has of its
// own. They follow the configuration.
type ports struct {
	repositories func() []*config.Repository
	server       httpapi.ServerConfig
	every        time.Duration // between two looks at the configuration
	log          *slog.Logger

	open   map[string]*port // by address; owned by run
	failed map[string]bool  // addresses whose failure was told
	work   sync.WaitGroup
}

type port struct {
	server *httpapi.Server
	listen net.Listener
}

func newPorts(repositories func() []*config.Repository, h http.Handler, c *Config, log *slog.Logger) *ports {
	return &ports{
		repositories: repositories, every: time.Second, log: log,
		server: httpapi.ServerConfig{Handler: h, Shutdown: c.ShutdownTimeout, Log: log},
		open:   map[string]*port{}, failed: map[string]bool{},
	}
}

// run opens and closes listeners until ctx ends, then lets running requests
// end.
func (p *ports) run(ctx context.Context) error {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		p.follow()
		select {
		case <-tick.C:
		case <-ctx.Done():
			var errs []error
			for address := range p.open {
				errs = append(errs, p.close(context.WithoutCancel(ctx), address))
			}
			p.work.Wait()
			return errors.Join(errs...)
		}
	}
}

// follow makes the open listeners those of the configuration.
func (p *ports) follow() {
	wanted := map[string]bool{}
	for _, c := range p.repositories() {
		if address, ok := c.ListenAddress(); ok {
			wanted[address] = true
		}
	}
	for address := range wanted {
		if p.open[address] == nil {
			p.listen(address)
		}
	}
	for address := range p.failed {
		if !wanted[address] {
			delete(p.failed, address)
		}
	}
	for address := range p.open {
		if wanted[address] {
			continue
		}
		if err := p.close(context.Background(), address); err != nil {
			p.log.Warn("close the port of a repository", "address", address, "error", err)
		}
	}
}

// listen tells a failure once; it is tried again with every look.
func (p *ports) listen(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if !p.failed[address] {
			p.failed[address] = true
			p.log.Error("listen on the port of a repository", "address", address, "error", err)
		}
		return
	}
	delete(p.failed, address)
	c := p.server
	c.Handler = registry.OnListener(address, c.Handler)
	s := httpapi.NewServer(c)
	p.open[address] = &port{s, l}
	p.work.Go(func() {
		if err := s.Serve(l); err != nil {
			p.log.Error("serve the port of a repository", "address", address, "error", err)
		}
	})
}

func (p *ports) close(ctx context.Context, address string) error {
	x := p.open[address]
	delete(p.open, address)
	return x.server.Close(ctx)
}
