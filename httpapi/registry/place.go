package registry

import (
	"context"
	"net"
	"net/http"
	"strings"

	"granary/formats"
	"granary/repo/config"
)

// place is where a name leads.
type place struct {
	repository string
	within     string // the rest of the path
	consumed   string // what of the name names the repository, "" if something else does
	own        bool   // the request was sent to an address of the repository's own
}

// find tells which repository a path is in.
func (q *request) find(path string) place {
	if q.only != "" {
		return place{repository: q.only, within: path, own: true}
	}
	if c := listeningAt(q.s.Registry.Listening(), q.r); c != nil {
		return place{repository: c.Name, within: path, own: true}
	}
	first, rest, _ := strings.Cut(path, "/")
	named := place{repository: first, within: rest, consumed: first}
	if q.s.IsRegistry(first) {
		return named
	}
	if c := q.mirror(); c != nil {
		return place{repository: c.Name, within: path}
	}
	if path != "_catalog" {
		if c, ok := q.s.Registry.RepositoryByID(q.s.Settings().DefaultDockerRepo); ok {
			return place{repository: c.Name, within: path}
		}
		return named
	}
	return place{within: path}
}

// IsRegistry tells whether a repository is one of the surface's.
func (s *Surface) IsRegistry(name string) bool {
	c, ok := s.Registry.Named(name)
	return ok && c.Format == s.Format.Name()
}

// mirror returns the first cache, by name, that the caller may read of the
// registry that containerd would ask itself.
func (q *request) mirror() *config.Repository {
	ns := q.query.Get("ns")
	if ns == "" {
		return nil
	}
	for _, c := range q.s.Registry.Repositories() {
		if c.Format == q.s.Format.Name() && c.Type == config.Cache && q.s.Format.Mirrors(c.UpstreamURL, ns) && q.x.Identity.Owner().CanSome(string(formats.VerbRead), c.Name, "") {
			return c
		}
	}
	return nil
}

// listeningAt returns the repository whose port or host name a request was
// sent to.
func listeningAt(list []*config.Repository, r *http.Request) *config.Repository {
	if len(list) == 0 {
		return nil
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	listener := r.Context().Value(ownListener{})
	for _, c := range list {
		if address, ok := c.ListenAddress(); ok {
			if address == listener {
				return c
			}
			continue
		}
		if strings.EqualFold(c.Listen, r.Host) || strings.EqualFold(c.Listen, host) {
			return c
		}
	}
	return nil
}

type ownListener struct{}

// OnListener answers what comes in at an address that a repository has of its
// own. No other listener is taken for it, whatever its port.
func OnListener(address string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), ownListener{}, address)))
	})
}

// source is [repo.Handle].Source: what a client means by the name of an image
// that it mounts from.
func (q *request) source(name string) (repository, within string, ok bool) {
	clean := strings.Trim(name, "/")
	p := q.find(clean)
	if p.repository == "" || !q.x.Identity.CanOn(string(formats.VerbRead), p.repository, p.within) {
		return "", "", false
	}
	return p.repository, p.within, true
}
