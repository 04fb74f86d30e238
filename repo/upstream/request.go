package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Request asks an upstream for one thing.
type Request struct {
	// Base is the repository's upstream_url.
	Base string
	// Ref is what is asked for: a path below Base, not escaped, "" being Base
	// itself; or an absolute http or https URL.
	Ref string
	// Auth goes to the origin of Base and to Realms. Optional.
	Auth *Credentials
	// Realms are hosts ("auth.example.com", any port, or
	// "auth.example.com:8443") or origins ("https://auth.example.com") that
	// may see Auth as well.
	Realms []string
	// ETag and LastModified are those of the copy at hand, to be told if it is
	// still good (Response.NotModified). Optional.
	ETag, LastModified string
	// Offset asks for the bytes from there on, given that ETag, if strong, is
	// still the same; the upstream may send all of them (Response.Offset).
	Offset int64
	// Length bounds what is asked for in bytes; 0 asks for the rest. An upstream
	// without ranges sends all from Response.Offset 0 on.
	Length int64
	// Body is that of a Send.
	Body []byte
	// Header is added, such as Accept. What this package decides by itself
	// can't be set. Optional.
	Header http.Header
}

// ranged tells whether a part is asked for.
func (r Request) ranged() bool { return r.Offset > 0 || r.Length > 0 }

// Credentials are a name and a password.
type Credentials struct {
	Username, Password string
}

// Format keeps the password out of whatever is printed.
func (c Credentials) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%q with ********", c.Username) //nolint:errcheck // fmt ignores it as well
}

// Response is an answer to use. Body must be closed.
type Response struct {
	// NotModified: the copy at hand is still good. There is no body.
	NotModified        bool
	Header             http.Header
	ETag, LastModified string // as sent, to be used in the next Request
	Offset             int64  // of the first byte of Body
	Size               int64  // of Body (HEAD: of the body there would be), -1: unknown
	// Body ends in io.EOF only after Size bytes. Its errors, other than the
	// end of the caller's context, are a formats.ErrUpstream.
	Body io.ReadCloser
	// URL is where the answer came from, after redirects; links in it are
	// relative to it.
	URL string
}

// Exchange is one HTTP request and what came of it, for logs and metrics.
type Exchange struct {
	Method  string
	Host    string // with port
	URL     string // without user info and query
	Status  int    // 0: no answer
	Elapsed time.Duration
	Err     error // why there was no answer
}

// sending is an exchange under way.
type sending struct {
	exchange Exchange
	began    time.Time
	told     func(Exchange) // nil if nobody wants to know
}

// send tells that a request is about to be sent.
func (c *Client) send(ctx context.Context, e Exchange, h http.Header) sending {
	return sending{told: c.sends(ctx, e, h), exchange: e, began: time.Now()}
}

// ended tells what came of it.
func (s sending) ended(status int, err error) {
	if s.told != nil {
		s.exchange.Status, s.exchange.Err, s.exchange.Elapsed = status, err, time.Since(s.began)
		s.told(s.exchange)
	}
}
