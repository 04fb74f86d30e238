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
func (x *Exchange) Authorise(verb formats.Verb, repository string) error {
	if x.Identity.Can(string(verb), repository) {
		return nil
	}
	return x.refuse(fmt.Sprintf("%s on repository %s", verb, repository))
}

// Can is Authorise for listings, which are filtered and not refused.
func (x *Exchange) Can(verb formats.Verb, repository string) bool {
	return x.Identity.Can(string(verb), repository)
}

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
		return x.refuse("a login")
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
