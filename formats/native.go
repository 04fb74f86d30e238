package formats

import (
	"context"
	"net/http"
)

// Challenger is implemented by formats whose clients look for a challenge of
// their own in a 401.
type Challenger interface {
	// Challenge returns a value for WWW-Authenticate, sent beside the one for
	// Basic, "" for a request that is none of the format's. It is asked before
	// anybody knows whether the repository exists and what format it has, so
	// that the answer can't tell: it goes by the header and [Site].Path.
	Challenge(r *http.Request) string
}

// Speaker is implemented by formats whose clients can be told from others by
// what they send.
type Speaker interface {
	// Speaks tells whether such a client sends the request. It is asked where
	// one is refused before anybody knows what the repository is, so that
	// [Failer] says so in the client's form; like a Challenger it goes by the
	// header and [Site].Path.
	Speaks(r *http.Request) bool
}

// Site is where a request found the repository.
type Site struct {
	// URL is that of the repository as the client knows it, without a slash at
	// its end.
	URL string
	// Path is that of the request below it, as in [Req].
	Path string
	// Public: everybody may read the repository, without credentials.
	Public bool
}

type siteKey struct{}

// WithSite tells a [Caller], a [Challenger] and a [Speaker] where they are.
func WithSite(ctx context.Context, s Site) context.Context {
	return context.WithValue(ctx, siteKey{}, s)
}

// SiteOf returns what WithSite said, or the zero Site.
func SiteOf(ctx context.Context) Site {
	s, _ := ctx.Value(siteKey{}).(Site)
	return s
}
