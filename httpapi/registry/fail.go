package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
)

const (
	codeNameUnknown = "NAME_UNKNOWN"
	codeNameInvalid = "NAME_INVALID"
)

// named says of a repository that there is none.
func named(err error) error {
	if errors.Is(err, formats.ErrNotFound) {
		return &formats.Coded{Code: codeNameUnknown, Err: err}
	}
	return err
}

// noRegistry says of a repository that it is of another format.
func noRegistry(repository string) error {
	return named(fmt.Errorf("%s is no registry: %w", repository, formats.ErrNotFound))
}

// authorise is the one decision about a request: nil, or the error that says
// 401 or 403. A token that was asked for too little is answered like none, with
// what to ask for.
func (q *request) authorise(verb formats.Verb, p place, image string) error {
	if q.x.Identity.CanOn(string(verb), p.repository, image) {
		return nil
	}
	name := image
	if p.prefix != "" {
		name = strings.TrimSuffix(p.prefix+"/"+image, "/")
	}
	scope := ""
	if name != "" {
		scope = "repository:" + name + ":" + actions(verb)
	}
	if from := q.query.Get("from"); from != "" && q.query.Has("mount") && scope != "" {
		scope += " repository:" + from + ":pull"
	}
	if q.x.Identity.Scoped() && q.x.Identity.Owner().CanBelow(string(verb), p.repository, image) {
		return q.challenge(scope, &auth.CredentialError{Method: auth.JWT, Reason: "the token was not asked for this"})
	}
	return q.challenge(scope, q.x.AuthoriseAt(verb, p.repository, image, true))
}

// actions are what a client is to ask for: who pushes also looks what is there.
func actions(verb formats.Verb) string {
	switch verb {
	case formats.VerbWrite:
		return "pull,push"
	case formats.VerbDelete:
		return "delete"
	}
	return "pull"
}

// challenged is a refusal with what kind of token would do.
type challenged struct {
	error
	header string
}

func (c *challenged) Unwrap() error { return c.error }

// challenge adds to a refusal where to get a token.
func (q *request) challenge(scope string, err error) error {
	header := fmt.Sprintf(`Bearer realm="%s%s/token",service="%s"`, q.x.Base(), q.root, service)
	if scope != "" {
		header += `,scope="` + quotable.Replace(scope) + `"`
		if q.x.Identity.Scoped() {
			header += `,error="insufficient_scope"`
		}
	}
	return &challenged{err, header}
}

// quotable takes out of a scope, which has parts that a client sent, what would
// end the quotes.
var quotable = strings.NewReplacer(`"`, "", `\`, "", "\r", "", "\n", "")

// failures is the error body of the surface.
type failures struct {
	Errors []registryError `json:"errors"`
}

type registryError struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Detail  struct{} `json:"detail"`
}

// Fail answers with an error; told is what the error table says of it.
func Fail(w http.ResponseWriter, r *http.Request, err error, told fault.Fault) {
	h := w.Header()
	location := h["Location"]
	told.Prepare(w, r)
	if told.Status == http.StatusRequestedRangeNotSatisfiable && location != nil {
		h["Location"] = location // of the upload that did not take the chunk
	}
	x := exchange.From(r.Context())
	if told.Status == http.StatusUnauthorized {
		h.Set("Www-Authenticate", challengeOf(x, r, err))
	}
	code := formats.CodeOf(err)
	if code == "" {
		code = codeOf(told.Status, x.Action)
	}
	data, merr := json.Marshal(failures{[]registryError{{Code: code, Message: told.Message}}})
	if merr != nil {
		data = []byte(`{"errors":[{"code":"UNKNOWN","message":"internal error","detail":{}}]}`)
	}
	h["Docker-Distribution-Api-Version"] = apiVersion
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(told.Status)
	if r.Method != http.MethodHead {
		w.Write(data) //nolint:errcheck // the client went away; the status has been sent
	}
}

// challengeOf is Basic where tokens are given out: they are for who shows a
// password.
func challengeOf(x *exchange.Exchange, r *http.Request, err error) string {
	var c *challenged
	switch {
	case errors.As(err, &c):
		return c.header
	case strings.HasSuffix(r.URL.Path, "/token"):
		return `Basic realm="` + service + `"`
	}
	return fmt.Sprintf(`Bearer realm="%s%s/token",service="%s"`, x.Base(), Prefix, service)
}

// codeOf is the code of an error that has none of its own, by what was asked.
func codeOf(status int, action string) string {
	switch status {
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusForbidden:
		return "DENIED"
	case http.StatusMethodNotAllowed:
		return "UNSUPPORTED"
	case http.StatusTooManyRequests:
		return "TOOMANYREQUESTS"
	case http.StatusRequestEntityTooLarge:
		return "SIZE_INVALID"
	case http.StatusNotFound:
		switch action {
		case "manifest":
			return "MANIFEST_UNKNOWN"
		case "blob":
			return "BLOB_UNKNOWN"
		case "blob upload":
			return "BLOB_UPLOAD_UNKNOWN"
		}
		return codeNameUnknown
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestedRangeNotSatisfiable:
		switch action {
		case "manifest":
			return "MANIFEST_INVALID"
		case "blob upload":
			return "BLOB_UPLOAD_INVALID"
		}
		return "UNSUPPORTED"
	}
	return "UNKNOWN"
}
