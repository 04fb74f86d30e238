package exchange

import (
	"fmt"
	"net/http"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/fault"
)

// Authorise is the one decision about a repository: nil, or the error that
// says 401 or 403. It needs the name from the request and nothing else, so
// that who lacks the right can't tell a repository from the lack of one.
//
// It asks for the right on the whole repository. Who has it on some paths only
// passes [Exchange.AuthoriseAt], and [Exchange.AuthoriseSome] where what is
// told is filtered.
func (x *Exchange) Authorise(verb formats.Verb, repository string) error {
	return x.decide(x.Identity.Can(string(verb), repository), verb, repository)
}

// AuthoriseAt is Authorise for one path below the repository. A path that ends
// in a slash, or is empty, stands for everything below it.
func (x *Exchange) AuthoriseAt(verb formats.Verb, repository, path string, slash bool) error {
	return x.decide(x.CanAt(path, slash)(verb, repository), verb, repository)
}

// AuthoriseSome is Authorise for what shows of a directory, "" for the root,
// only what CanAt and CanSome allow.
func (x *Exchange) AuthoriseSome(verb formats.Verb, repository, dir string) error {
	return x.decide(x.CanSome(verb, repository, dir), verb, repository)
}

func (x *Exchange) decide(may bool, verb formats.Verb, repository string) error {
	x.Repository = repository
	if may {
		return nil
	}
	return x.refuse(fmt.Sprintf("%s on repository %s", verb, repository))
}

// Can is Authorise for listings, which are filtered and not refused.
func (x *Exchange) Can(verb formats.Verb, repository string) bool {
	return x.Identity.Can(string(verb), repository)
}

// CanAt is Can for one path, in whichever repository; see AuthoriseAt.
func (x *Exchange) CanAt(path string, slash bool) func(formats.Verb, string) bool {
	if slash || path == "" {
		return x.CanBelow(path)
	}
	return func(verb formats.Verb, repository string) bool {
		return x.Identity.CanAt(string(verb), repository, path)
	}
}

// CanSome is Can for anything in a directory.
func (x *Exchange) CanSome(verb formats.Verb, repository, dir string) bool {
	return x.Identity.CanSome(string(verb), repository, dir)
}

// CanBelow is Can for everything in a directory, in whichever repository.
func (x *Exchange) CanBelow(dir string) func(formats.Verb, string) bool {
	return func(verb formats.Verb, repository string) bool {
		return x.Identity.CanBelow(string(verb), repository, dir)
	}
}

// AdministerRepository is the decision about the configuration of a repository
// that exists, by its name.
func (x *Exchange) AdministerRepository(name string) error {
	x.Repository = name
	if x.Identity.Can(string(Admin), name) {
		return nil
	}
	return x.refuse("admin on repository " + name)
}

// Admin is the right to configure a repository. No format asks for it.
const Admin formats.Verb = "admin"

// Administer is the decision about everything that is not in a repository.
func (x *Exchange) Administer() error {
	if x.Identity.Admin() {
		return nil
	}
	return x.refuse("the role admin")
}

// LoggedIn refuses who showed no credentials, and who must change the password
// first.
func (x *Exchange) LoggedIn() error {
	if x.Identity.Anonymous() || x.Identity.MustChangePassword() {
		return x.refuse("an account")
	}
	return nil
}

func (x *Exchange) refuse(needs string) error {
	switch {
	case x.Identity.Anonymous() || x.Identity.Name == "":
		return &auth.CredentialError{Method: auth.Anonymous, Reason: "this needs " + needs + "; log in"}
	case x.Identity.MustChangePassword():
		return &fault.Fault{Status: http.StatusForbidden, Code: fault.Forbidden, Message: "change your password first"}
	}
	return &fault.Fault{Status: http.StatusForbidden, Code: fault.Forbidden, Message: "this needs " + needs}
}
