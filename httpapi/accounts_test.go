package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"granary/repo/config"
)

// Whoever logs in through a repository gets a token of an own right in it, and
// an answer that does not tell what there is.
func TestNpmAccounts(t *testing.T) {
	r := newRig(t)
	r.user("ann", "read", "npm")
	r.user("bob", "read", "elsewhere")
	r.Create("npm", config.Hosted, "npm", nil)
	login := func(repository, user, password string) *answer {
		return r.do("", "PUT", "/repository/"+repository+"/-/user/org.couchdb.user:"+user,
			strings.NewReader(fmt.Sprintf(`{"name":%q,"password":%q}`, user, password)))
	}
	for _, repository := range []string{"npm", "missing"} {
		login(repository, "ann", "wrong-password").status(401)
		login(repository, "bob", "password").status(401)
		login(repository, "nobody", "password").status(401)
	}
	login("missing", "ann", "password").status(401)
	token := login("npm", "ann", "password").status(201).object()["token"].(string)
	as := func(method, target, body string) *answer {
		return r.do("", method, "/repository/npm/-/"+target, strings.NewReader(body), "Authorization", "Bearer "+token)
	}
	as("GET", "whoami", "").status(200).is(`{"username":"ann"}`)
	if list := as("GET", "npm/v1/tokens", "").status(200).object()["objects"].([]any); len(list) != 1 {
		t.Errorf("tokens %v", list)
	}
	as("POST", "npm/v1/tokens", `{"password":"wrong-password","readonly":true}`).status(401)
	made := as("POST", "npm/v1/tokens", `{"password":"`+"password"+`","readonly":true}`).status(200).object()
	r.do("", "GET", "/repository/npm/-/ping", nil, "Authorization", "Bearer "+made["token"].(string)).status(200)
	as("DELETE", "npm/v1/tokens/token/"+made["key"].(string), "").status(204)
	r.do("", "GET", "/repository/npm/-/ping", nil, "Authorization", "Bearer "+made["token"].(string)).status(401)
	as("DELETE", "user/token/"+token, "").status(200)
	as("GET", "whoami", "").status(401)
	r.do("", "GET", "/repository/npm/-/whoami", nil).status(401)
}
