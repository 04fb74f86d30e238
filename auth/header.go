package auth

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// maxCredential is the longest Authorization header in bytes that is looked at.
const maxCredential = 16 << 10

// credential is what a request shows. Name and secret are as the client sent
// them.
type credential struct {
	method Method
	name   string // Basic
	secret Secret // the password, or the token
}

// parseHeader reads the credentials of a request. Absent ones are Anonymous;
// what is not understood is an error, never Anonymous.
func parseHeader(h http.Header) (credential, error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return credential{method: Anonymous}, nil
	}
	if len(values) > 1 {
		return credential{}, &CredentialError{Unknown, "more than one Authorization header"}
	}
	if len(values[0]) > maxCredential {
		return credential{}, &CredentialError{Unknown, "Authorization header too long"}
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	rest = strings.Trim(rest, " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		return parseBasic(rest)
	case strings.EqualFold(scheme, "Bearer"):
		if rest == "" {
			return credential{}, &CredentialError{JWT, "no token"}
		}
		return credential{method: JWT, secret: Secret(rest)}, nil
	}
	return credential{}, &CredentialError{Unknown, "authentication scheme not supported"}
}

// parseBasic reads a pair, RFC 7617: the name ends at the first colon.
func parseBasic(encoded string) (credential, error) {
	pair, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return credential{}, &CredentialError{Basic, "not base64"}
	}
	name, password, ok := strings.Cut(string(pair), ":")
	if !ok {
		return credential{}, &CredentialError{Basic, "no colon between name and password"}
	}
	return credential{method: Basic, name: name, secret: Secret(password)}, nil
}
