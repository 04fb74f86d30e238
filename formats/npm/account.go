package npm

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"granary/formats"
)

// maxLogin is the body of a log-in, in bytes.
const maxLogin = 64 << 10

// callAccount answers what is about the caller and the caller's tokens.
func callAccount(w http.ResponseWriter, r *http.Request, op formats.Op) error {
	accounts := formats.AccountsOf(r.Context())
	ctx := r.Context()
	if op.Label == labelLogin {
		return callLogin(w, r, op, accounts)
	}
	name, err := accounts.Username()
	switch {
	case err != nil:
		return err
	case op.Label == labelWhoami:
		return reply(w, http.StatusOK, map[string]string{"username": name})
	case op.Label == labelUser:
		return reply(w, http.StatusOK, map[string]any{"name": name, "tfa": false, "email": "", "email_verified": false})
	case op.Label == labelLogout, op.Label == labelTokens && r.Method == http.MethodDelete:
		if err := accounts.EndToken(ctx, op.Name); err != nil {
			return err
		}
		if op.Label == labelTokens {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return reply(w, http.StatusOK, map[string]bool{"ok": true})
	case r.Method == http.MethodPost:
		return createToken(w, r, accounts)
	}
	tokens, err := accounts.Tokens(ctx)
	if err != nil {
		return err
	}
	objects := []any{}
	for _, t := range tokens {
		objects = append(objects, shown(t))
	}
	return reply(w, http.StatusOK, map[string]any{"objects": objects, "total": len(objects), "urls": map[string]string{}})
}

func readBody(r *http.Request, into any) error {
	data, err := drain(r.Body, maxLogin, "body")
	if err != nil {
		return err
	}
	if json.Unmarshal(data, into) != nil {
		return formats.BadRequest("the body is no JSON as npm sends it")
	}
	return nil
}

// callLogin answers PUT -/user/org.couchdb.user:<name>, which older versions
// send as <name>/-rev/<revision> too.
func callLogin(w http.ResponseWriter, r *http.Request, op formats.Op, accounts formats.Accounts) error {
	var body struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	name, _, _ := strings.Cut(op.Name, "/-rev/")
	if body.Name != "" && body.Name != name {
		return formats.BadRequest("the path is about user %q, the body about %q", name, body.Name)
	}
	token, err := accounts.Login(r.Context(), name, body.Password)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, map[string]any{"ok": true, "id": "org.couchdb.user:" + name, "rev": "_we_dont_use_revs_any_more", "token": token})
}

func createToken(w http.ResponseWriter, r *http.Request, accounts formats.Accounts) error {
	var body struct {
		Password string   `json:"password"`
		ReadOnly bool     `json:"readonly"`
		CIDR     []string `json:"cidr_whitelist"`
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	if len(body.CIDR) > 0 {
		return formats.BadRequest("tokens can't be bound to addresses here")
	}
	t, text, err := accounts.CreateToken(r.Context(), body.Password, body.ReadOnly)
	if err != nil {
		return err
	}
	out := shown(t)
	out["token"] = text
	return reply(w, http.StatusOK, out)
}

func shown(t formats.AccountToken) map[string]any {
	return map[string]any{
		"key": t.ID, "token": t.Shown, "cidr_whitelist": nil, "readonly": t.ReadOnly,
		"created": t.Created.UTC().Format(time.RFC3339), "updated": t.Created.UTC().Format(time.RFC3339),
	}
}
