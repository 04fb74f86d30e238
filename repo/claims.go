package repo

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"granary/formats"
	"granary/repo/config"
)

// claims are the names of packages that the hosted repositories of a group
// have. Upstreams of its caches are not asked for them, so that nobody can put
// a package of an inner name in front of the inner one. Members that the caller
// may not read claim their names all the same.
//
// One belongs to one view of the group, for the length of a request.
type claims struct {
	service *Service
	group   *repository

	mu     sync.Mutex
	scopes map[string]map[string]bool // packages by scope; guarded by mu
}

// newClaims returns nil for a group that shares names with upstreams, or whose
// format has no packages.
func (s *Service) newClaims(r *repository) *claims {
	if _, ok := r.format.(formats.Releaser); !ok || r.ClaimNames != nil && !*r.ClaimNames {
		return nil
	}
	return &claims{service: s, group: r, scopes: map[string]map[string]bool{}}
}

// claimed tells whether the upstream must not be asked for a record, or with an
// empty name for anything in the scope.
func (c *cache) claimed(ctx context.Context, scope, name string) (bool, error) {
	if c.claims == nil {
		return false, nil
	}
	pkg, _ := c.repo.release(scope, name)
	if p, ok := c.repo.format.(formats.Placer); ok && pkg != "" {
		if scope = p.ClaimScope(scope); scope == "" {
			return false, nil
		}
	}
	if pkg == "" {
		return false, nil
	}
	return c.claims.has(ctx, scope, pkg)
}

func (cl *claims) has(ctx context.Context, scope, pkg string) (bool, error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	packages, ok := cl.scopes[scope]
	if !ok {
		packages = map[string]bool{}
		if err := cl.collect(ctx, cl.group, scope, packages, 0); err != nil {
			return false, fmt.Errorf("look for names that %s claims: %w", cl.group.Name, err)
		}
		cl.scopes[scope] = packages
	}
	return packages[pkg], nil
}

// collect adds the packages of the hosted repositories below a group.
func (cl *claims) collect(ctx context.Context, r *repository, scope string, packages map[string]bool, depth int) error {
	if depth > maxDepth {
		return nil
	}
	for _, id := range r.Members {
		conf, ok := cl.service.Registry.RepositoryByID(id)
		if !ok || conf.Type == config.Cache {
			continue
		}
		member, err := cl.service.repository(conf)
		if err != nil {
			return err
		}
		if conf.Type == config.Proxy {
			if err := cl.collect(ctx, member, scope, packages, depth+1); err != nil {
				return err
			}
			continue
		}
		found, err := cl.service.packages(ctx, member, scope)
		if err != nil {
			return err
		}
		maps.Copy(packages, found)
	}
	return nil
}

// knownNames are the packages of a scope of a hosted repository at a stamp.
type knownNames struct {
	stamp    string
	packages map[string]bool
}

// maxKnown is what known packages may take of memory, in bytes or so.
const maxKnown = 8 << 20

func (k knownNames) weight() uint32 {
	n := 128
	for name := range k.packages {
		n += len(name) + 64
	}
	return uint32(min(n, maxKnown+1)) //nolint:gosec // small
}

// packages are the names that a hosted repository has in a scope, those in
// quarantine too. They are read once per stamp: a write stamps the scope after
// its records, so that a name whose write was answered is never missed. What
// one record tells, as of a scope that is a package's, is read each time.
func (s *Service) packages(ctx context.Context, r *repository, scope string) (map[string]bool, error) {
	h := &hosted{service: s, repo: r}
	packages := map[string]bool{}
	whole, _ := r.release(scope, "")
	key, stamp := r.ID+" "+scope, ""
	if whole == "" {
		var err error
		if stamp, err = h.stored(ctx, scope); err != nil || stamp == "" {
			return packages, err
		}
		if k, ok := s.names.GetIfPresent(key); ok && k.stamp == stamp {
			return k.packages, nil
		}
	}
	for rec, err := range h.all(ctx, scope, "") {
		if err != nil {
			return nil, err
		}
		if pkg, _ := r.release(scope, rec.Name); pkg != "" {
			packages[pkg] = true
		}
		if whole != "" {
			return packages, nil
		}
	}
	s.names.Set(key, knownNames{stamp, packages})
	return packages, nil
}
