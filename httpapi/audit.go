package httpapi

import (
	"net/http"
	"regexp"
	"time"

	"granary/audit"
	"granary/auth"
	"granary/httpapi/exchange"
)

// record tells the audit log of a request: of everything that changes
// something or might have, log-ins, and refusals. A read without credentials
// that is answered by asking for some is how many clients begin, and nothing
// happened; it counts as a read. Reads are told if the settings say so.
func (s *server) record(x *exchange.Exchange, r *http.Request, started time.Time, status int) {
	if s.Audit == nil || isProbe(r.URL.Path) {
		return
	}
	read := !x.LogIn && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions)
	refused := status == http.StatusForbidden || status == http.StatusUnauthorized && (x.Refused != "" || !read)
	if read && !refused && !s.Settings().AuditReads {
		return
	}
	s.Audit.Add(audit.Entry{
		Time: started, Username: subject(x), Credential: credential(x), IP: x.Client, Method: r.Method, Path: r.URL.Path,
		Action: x.Action, Repo: x.Repository, Status: status, RequestID: x.ID,
	})
}

// userName is what a user can be called. What else was sent as a name may be a
// password in the wrong field, and is not kept.
var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$`)

func subject(x *exchange.Exchange) string {
	switch {
	case x.Subject == "":
		return x.Identity.Name
	case userName.MatchString(x.Subject) && !auth.IsAPIToken(x.Subject):
		return x.Subject
	}
	return ""
}

// credential says by what somebody was recognised, or was not.
func credential(x *exchange.Exchange) string {
	if x.Refused != "" {
		return "refused " + string(x.Refused)
	}
	switch x.Identity.Method {
	case auth.Basic:
		return "password"
	case auth.JWT:
		if x.Identity.Token != "" {
			return "session of token " + x.Identity.Token
		}
		return "session"
	case auth.Token:
		return "token " + x.Identity.Token
	case auth.Anonymous:
		return ""
	}
	return string(x.Identity.Method)
}
