package auth

import "slices"

// Scope is what a token of one surface is good for: rights on one thing in one
// repository.
type Scope struct {
	Repository string   `json:"repo"`
	Name       string   `json:"name,omitempty"` // within the repository, such as an image
	Verbs      []string `json:"verbs"`          // read, write or delete
}

// scoped is what a token leaves of its owner's rights. nil leaves all of them.
type scoped struct {
	audience string
	scopes   []Scope
}

// meantFor tells whether a token is good on a surface: one without an audience
// is on all.
func (c *scoped) meantFor(audience string) bool { return c == nil || c.audience == audience }

// allows tells whether the token is good for a right on anything in a
// repository.
func (c *scoped) allows(verb, repository string) bool {
	return c == nil || slices.ContainsFunc(c.scopes, func(s Scope) bool {
		return s.Repository == repository && slices.Contains(s.Verbs, verb)
	})
}

// Scoped tells whether the identity has less than its owner's rights, because
// its token was asked for so.
func (i Identity) Scoped() bool { return i.scoped != nil }

// CanOn is CanBelow for one thing in a repository, with what belongs to it: a
// token that was asked for another one is not good for it.
func (i Identity) CanOn(verb, repository, name string) bool {
	return i.CanBelow(verb, repository, name) && i.InScope(repository, name, verb)
}

// InScope tells whether the identity's token was asked for a right on one
// thing; its owner need not have the right.
func (i Identity) InScope(repository, name, verb string) bool {
	return i.scoped == nil || slices.ContainsFunc(i.scoped.scopes, func(s Scope) bool {
		return s.Repository == repository && s.Name == name && slices.Contains(s.Verbs, verb)
	})
}

// Owner returns the identity without what its token leaves out, to tell a
// missing scope from a missing right.
func (i Identity) Owner() Identity {
	i.scoped = nil
	return i
}

// IssueScoped returns a token of an identity that is good on one surface alone,
// the audience, and there for the scopes, which the caller has cut down to the
// identity's rights. What its owner loses later it loses too.
func (s *Service) IssueScoped(id Identity, audience string, scopes []Scope) (Session, error) {
	return s.issue(id, &scoped{audience, scopes})
}
