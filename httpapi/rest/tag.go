package rest

import (
	"encoding/json"
	"fmt"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
)

// Documents of the configuration have entity tags, so that who changes one can
// say which state of it (If-Match), and hears 412 if somebody else was faster.
// A tag changes with what clients see but for counts, which change by
// themselves.

// tag is that of a document as clients see it.
func tag(shown any) (string, error) {
	b, err := json.Marshal(shown)
	if err != nil {
		return "", fmt.Errorf("make an entity tag: %w", err)
	}
	return content.TagOf(b), nil
}

// tagged sets the tag of the answer.
func tagged(x *exchange.Exchange, shown any) error {
	t, err := tag(shown)
	if err == nil {
		x.Header().Set("Etag", t)
	}
	return err
}

// unchanged refuses to change what is not as the request has seen it.
func unchanged(x *exchange.Exchange, shown any) error {
	want := x.Request().Header["If-Match"]
	if len(want) == 0 {
		return nil
	}
	t, err := tag(shown)
	if err != nil {
		return err
	}
	if !content.Match(want, t, false) {
		return fmt.Errorf("%w: it has been changed since; get it again", formats.ErrPrecondition)
	}
	return nil
}

func userUnchanged(x *exchange.Exchange) func(auth.User) error {
	return func(u auth.User) error { return unchanged(x, showUser(u)) }
}

func roleUnchanged(x *exchange.Exchange) func(auth.Role) error {
	return func(r auth.Role) error { return unchanged(x, showRole(r)) }
}
