package httpapi

import (
	"strings"
	"testing"

	"granary/auth"
)

// That a good ID token publishes is seen with the clients: TestTrustedPublishers
// in integration.
func TestPublishers(t *testing.T) {
	r := newRig(t)
	r.do("", "GET", audiencePath, nil).status(404)
	robot := auth.NewUser{Username: "robot", Kind: auth.ServiceAccount}
	if _, err := r.auth.CreateUser(t.Context(), robot); err != nil {
		t.Fatal(err)
	}
	r.json("admin", "PUT", "/api/v1/settings/oidc", `{"workloads":[
		{"issuer":"https://id.example.com","audience":"first","claims":{"repository":"acme/*"},"username":"robot","expires_secs":900},
		{"issuer":"https://id.example.com","audience":"second","claims":{"repository":"acme/*"},"username":"robot","expires_secs":900}]}`).status(200)
	r.do("", "GET", audiencePath, nil).status(200).is(`{"audience":"first"}`)

	const idToken = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZS5jb20iLCJhdWQiOiJmaXJzdCJ9.x" // of evil.example.com
	for _, tt := range []struct {
		name, path, body, authorization string
		status                          int
		code                            string
	}{
		{"no body", mintPath, ``, "", 400, "bad_request"},
		{"no token", mintPath, `{}`, "", 400, "bad_request"},
		{"too long", mintPath, `{"token":"` + strings.Repeat("x", maxIDTokenBody) + `"}`, "", 413, ""},
		{"no ID token", mintPath, `{"token":"x"}`, "", 401, "unauthorized"},
		{"another issuer's", mintPath, `{"token":"` + idToken + `"}`, "", 401, "unauthorized"},
		{"npm without credentials", npmExchange + "lib", ``, "", 400, "bad_request"},
		{"npm with a password", npmExchange + "lib", ``, pair("admin", adminPassword), 400, "bad_request"},
		{"npm with a wrong password", npmExchange + "lib", ``, pair("admin", "wrong"), 401, ""},
		{"npm with another issuer's", npmExchange + "@corp/lib", ``, "Bearer " + idToken, 401, "unauthorized"},
		{"an ID token elsewhere", "/repository/files/x", ``, "Bearer " + idToken, 401, ""},
	} {
		header := []string{}
		if tt.authorization != "" {
			header = append(header, "Authorization", tt.authorization)
		}
		a := r.do("", "POST", tt.path, strings.NewReader(tt.body), header...)
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, a.StatusCode, tt.status, a.text)
		}
		if tt.code == "" {
			continue
		}
		if !strings.Contains(a.text, `"errors":[{"code":"`+tt.code+`","description":"`) {
			t.Errorf("%s: %s", tt.name, a.text)
		}
	}
}
