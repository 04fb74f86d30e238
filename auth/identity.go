package auth

import (
	"slices"
	"time"
)

// The names that mean something by themselves.
const (
	AdminRole     = "admin"     // may do everything
	ReadOnlyRole  = "read-only" // made on first start: read everything
	AdminUser     = "admin"     // made on first start
	AnonymousUser = "anonymous" // who sends no credentials
)

// Identity is who asks, with the rights in force when it was made. It is valid
// for the one request that it was made for.
type Identity struct {
	Name   string
	Roles  []string // not to be changed
	Method Method   // how the identity was shown
	Peer   string   // address the request came from, for lock-out and audit
	// Token is the id of the API token that the identity was shown by, directly
	// or by a session made with it; "" for none.
	Token string

	mustChange bool
	rights     rights
	limits     *rights   // what the token is limited to; nil: to nothing less than rights
	expires    time.Time // when the token ends; zero: never, or no token
	scoped     *scoped   // what a token of one surface is good for; nil: everything
}

// Can tells whether the identity may read, write or delete everything in a
// repository, or administer it. Nothing needs to be known of the repository but
// its name.
func (i Identity) Can(verb, repository string) bool { return i.can(verb, repository, everything) }

// CanAt is Can for one path below the repository.
func (i Identity) CanAt(verb, repository, path string) bool {
	return i.can(verb, repository, reach{path: path})
}

// CanBelow is Can for everything in a directory below the repository, "" for
// its root.
func (i Identity) CanBelow(verb, repository, dir string) bool {
	return i.can(verb, repository, reach{path: dir, how: wholeDir})
}

// CanSome is Can for anything in a directory: it tells what is worth showing on
// the way to what CanAt allows.
func (i Identity) CanSome(verb, repository, dir string) bool {
	return i.can(verb, repository, reach{path: dir, how: someOfDir})
}

func (i Identity) can(verb, repository string, r reach) bool {
	return !i.mustChange && i.rights.allow(verb, repository, r) && (i.limits == nil || i.limits.allow(verb, repository, r)) &&
		i.scoped.allows(verb, repository)
}

// Admin tells whether the identity may administer the server. A token that is
// limited to repositories never may.
func (i Identity) Admin() bool { return !i.mustChange && i.rights.admin && !i.Limited() }

// Limited tells that the identity was shown by a token with less than its
// user's rights: it may use repositories, but not act on the user's account.
func (i Identity) Limited() bool { return i.limits != nil || i.scoped != nil }

// MustChangePassword tells that the identity may do nothing but change its
// password; Can and Admin say no until then.
func (i Identity) MustChangePassword() bool { return i.mustChange }

// Anonymous tells that nobody in particular asks: what is refused then needs
// credentials (401), not rights (403).
func (i Identity) Anonymous() bool { return i.Name == AnonymousUser }

// rights are what a user's roles add up to; the zero value denies everything.
type rights struct {
	admin  bool
	grants []grant
}

type grant struct {
	verb, glob string
	paths      []string // globs; nil: the whole repository
}

// reach is what of a repository is asked about.
type reach struct {
	path string
	how  uint8
}

const (
	onePath uint8 = iota
	wholeDir
	someOfDir
)

// everything is the whole of a repository.
var everything = reach{how: wholeDir}

func (r rights) allow(verb, repository string, of reach) bool {
	if r.admin {
		return true
	}
	for i := range r.grants {
		if g := &r.grants[i]; (g.verb == verb || g.verb == verbAdmin) && match(g.glob, repository) && g.reaches(of) {
			return true
		}
	}
	return false
}

func (g *grant) reaches(of reach) bool {
	if g.paths == nil {
		return true
	}
	fits := [...]func(glob, path string) bool{onePath: matchPath, wholeDir: coversPath, someOfDir: meetsPath}[of.how]
	for _, glob := range g.paths {
		if fits(glob, of.path) {
			return true
		}
	}
	return false
}

// rightsOf adds up roles; those that don't exist grant nothing.
func rightsOf(names []string, roles map[string]*roleRecord) rights {
	r := rights{admin: slices.Contains(names, AdminRole)}
	for _, name := range names {
		role := roles[name]
		if role == nil {
			continue
		}
		r.add(role.Capabilities)
	}
	return r
}

func (r *rights) add(list []capabilityRecord) {
	for _, c := range list {
		r.grants = append(r.grants, grant{c.Capability, c.Repository, c.Paths})
	}
}

// System is the server itself, which may do everything. No credentials lead to
// it.
func System() Identity {
	return Identity{Name: "system", Method: "system", rights: rights{admin: true}}
}
