package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/fault"
)

const (
	// refreshAudience is that of tokens which bring tokens.
	refreshAudience = "registry-refresh"
	maxForm         = 64 << 10 // bytes
	maxScopes       = 64
	// catalogScope is the name of the right to list everything.
	catalogScope = "catalog"
)

// grant is the answer of the token endpoint, as the distribution project's
// token specification and RFC 6749 want it.
type grant struct {
	Token        string `json:"token"`
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	IssuedAt     string `json:"issued_at"`
	Scope        string `json:"scope,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// token gives out a token with the scopes asked for, less what the caller has
// no right to.
func (q *request) token() error {
	q.x.Action = "token"
	id, asked := q.x.Identity, q.query
	offline := false
	switch q.r.Method {
	case http.MethodGet:
	case http.MethodPost:
		form, err := q.form()
		if err != nil {
			return err
		}
		if id, err = q.login(form); err != nil {
			return err
		}
		if form.Get("grant_type") == "refresh_token" {
			id = id.Owner() // that token is good for tokens, whatever their scopes
		}
		asked, offline = form, form.Get("access_type") == "offline"
	default:
		return notAllowed(q.r.Method, "GET, POST")
	}
	if id.MustChangePassword() {
		return &fault.Fault{Status: http.StatusForbidden, Code: fault.Forbidden, Message: "change your password first"}
	}
	scopes, granted, err := q.scopes(id, asked["scope"])
	if err != nil {
		return err
	}
	session, err := q.s.Users.IssueScoped(id, Audience, scopes)
	if err != nil {
		return err
	}
	g := grant{
		Token: string(session.Token), AccessToken: string(session.Token), ExpiresIn: int64(session.Life / time.Second),
		IssuedAt: q.s.Now().UTC().Format(time.RFC3339), Scope: granted,
	}
	if offline && !id.Anonymous() {
		refresh, err := q.s.Users.IssueScoped(id, refreshAudience, nil)
		if err != nil {
			return err
		}
		g.RefreshToken = string(refresh.Token)
	}
	return q.json(g)
}

func (q *request) json(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Cache-Control", "no-store")
	q.w.Write(data) //nolint:errcheck // the client went away
	return nil
}

// form reads the body of a POST.
func (q *request) form() (url.Values, error) {
	kind, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, &fault.Fault{Status: http.StatusUnsupportedMediaType, Code: fault.BadRequest, Message: "Content-Type must be application/x-www-form-urlencoded"}
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	if err := q.r.ParseForm(); err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			return nil, err
		}
		return nil, formats.BadRequest("the form can't be read")
	}
	return q.r.PostForm, nil
}

// login tells who a form is from: whose password or refresh token it holds,
// else who sent the request.
func (q *request) login(form url.Values) (auth.Identity, error) {
	switch kind := form.Get("grant_type"); {
	case kind == "refresh_token":
		return q.as(refreshAudience, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+form.Get("refresh_token")) })
	case kind != "" && kind != "password":
		return auth.Identity{}, formats.BadRequest("grant_type %.64q is none of password and refresh_token", kind)
	case form.Has("username"):
		return q.as("", func(r *http.Request) { r.SetBasicAuth(form.Get("username"), form.Get("password")) })
	case kind == "password":
		return auth.Identity{}, &auth.CredentialError{Method: auth.Basic, Reason: "the form has no username"}
	}
	return q.x.Identity, nil
}

// as authenticates the request with other credentials.
func (q *request) as(audience string, set func(*http.Request)) (auth.Identity, error) {
	r := q.r.Clone(q.r.Context())
	r.Header.Del("Authorization")
	set(r)
	return q.s.Users.AuthenticateFor(r.Context(), r, audience)
}

// scopes reads "repository:<name>:pull,push" and leaves of it what the identity
// may. granted is the same as text.
func (q *request) scopes(id auth.Identity, asked []string) (out []auth.Scope, granted string, err error) {
	var list []string
	for _, s := range asked {
		list = append(list, strings.Fields(s)...)
	}
	if len(list) > maxScopes {
		return nil, "", formats.BadRequest("more than %d scopes", maxScopes)
	}
	var text []string
	for _, s := range list {
		kind, rest, _ := strings.Cut(s, ":")
		i := strings.LastIndexByte(rest, ':')
		if i < 0 {
			return nil, "", formats.BadRequest("%.300q is no scope", s)
		}
		name, actions := rest[:i], strings.Split(rest[i+1:], ",")
		if kind == "registry" && name == catalogScope {
			// What is listed is filtered by the caller's rights.
			out, text = append(out, auth.Scope{Name: name, Verbs: []string{string(formats.VerbRead)}}), append(text, s)
			continue
		}
		if !strings.HasPrefix(kind, "repository") {
			continue
		}
		more, names := q.images(id, name, actions)
		if out = append(out, more...); len(more) > 0 {
			text = append(text, "repository:"+name+":"+strings.Join(names, ","))
		}
	}
	return out, strings.Join(text, " "), nil
}

// images are the scopes that a name with actions means, less what the identity
// may not; left are the actions of the first of them.
func (q *request) images(id auth.Identity, name string, actions []string) (out []auth.Scope, left []string) {
	for _, p := range q.meant(strings.Trim(name, "/"), id) {
		if c, ok := q.s.Registry.Named(p.repository); ok && c.Format != q.s.Format.Name() {
			continue
		}
		rights, names := allowed(id, p, actions)
		if len(rights) == 0 {
			continue
		}
		if out = append(out, auth.Scope{Repository: p.repository, Name: p.within, Verbs: rights}); len(out) == 1 {
			left = names
		}
	}
	return out, left
}

// verbs are the rights behind the actions of scopes.
var verbs = map[string]formats.Verb{"pull": formats.VerbRead, "push": formats.VerbWrite, "delete": formats.VerbDelete}

// allowed leaves of actions those that the identity may do; "*" is all.
func allowed(id auth.Identity, p place, actions []string) (rights, names []string) {
	if slices.Contains(actions, "*") {
		actions = []string{"pull", "push", "delete"}
	}
	for _, action := range actions {
		verb, ok := verbs[action]
		if ok && id.CanBelow(string(verb), p.repository, p.within) && !slices.Contains(rights, string(verb)) {
			rights, names = append(rights, string(verb)), append(names, action)
		}
	}
	return rights, names
}
