package registry

import (
	"context"
	"net"
	"net/http"
	"strings"

	"granary/auth"
	"granary/formats"
	"granary/repo/config"
)

// place is where a name leads.
type place struct {
	repository string
	within     string // the rest of the path
	prefix     string // what names in scopes begin with: the repository, or the registry that a cache mirrors; "" for nothing
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
	if q.s.IsRegistry(first) {
		return place{repository: first, within: rest, prefix: first}
	}
	// Whether there is a cache for it is not told by what to ask a token for.
	ns := q.query.Get("ns")
	if p, ok := q.instead(ns, path, q.x.Identity); ok {
		return p
	}
	if path == "_catalog" {
		return place{within: path}
	}
	return place{repository: first, within: rest, prefix: strings.TrimPrefix(ns+"/"+first, "/")}
}

// instead is where an image is looked for whose name has no repository: in the
// cache of the registry that containerd would ask itself, or else the default
// repository. There images have the names that they have at that registry.
func (q *request) instead(host, path string, id auth.Identity) (place, bool) {
	if c := q.s.mirrorOf(host, id); c != nil {
		return place{repository: c.Name, within: path, prefix: host}, true
	}
	c, ok := q.s.Registry.RepositoryByID(q.s.Settings().DefaultDockerRepo)
	if !ok || path == "_catalog" {
		return place{}, false
	}
	return place{repository: c.Name, within: path, prefix: host}, true
}

// meant returns what the name in a scope may mean: what a request with that name
// would be for, and, as containerd does not say again whose mirror it asks, what
// one with the name's first segment as host would be for.
func (q *request) meant(name string, id auth.Identity) []place {
	all := []place{q.find(name)}
	host, rest, _ := strings.Cut(name, "/")
	if all[0].own || q.s.IsRegistry(host) || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return all
	}
	if p, ok := q.instead(host, rest, id); ok {
		all = append(all, p)
	}
	return all
}

// mirrorOf returns the first cache, by name, that somebody may read of a
// registry.
func (s *Surface) mirrorOf(host string, id auth.Identity) *config.Repository {
	if host == "" {
		return nil
	}
	for _, c := range s.Registry.Repositories() {
		if c.Format == s.Format.Name() && c.Type == config.Cache && s.Format.Mirrors(c.UpstreamURL, host) && id.Owner().CanSome(string(formats.VerbRead), c.Name, "") {
			return c
		}
	}
	return nil
}

// IsRegistry tells whether a repository is one of the surface's.
func (s *Surface) IsRegistry(name string) bool {
	c, ok := s.Registry.Named(name)
	return ok && c.Format == s.Format.Name()
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
