package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswered is how much of the answer to a Post is read, in bytes, so that
// the connection can be used again.
const maxAnswered = 64 << 10

// Post sends body to a URL under the guard of upstreams and returns the status
// that it was answered with. Redirects are not followed: what was said to one
// is not said to another. An error is an address that the guard refuses
// (ErrAddress) or that could not be reached.
func (c *Client) Post(ctx context.Context, url string, header http.Header, body []byte) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("post to %s: %w", url, err)
	}
	r.Header = header.Clone()
	r.Header.Set("User-Agent", c.userAgent)
	sent := c.send(ctx, Exchange{Method: r.Method, Host: r.URL.Host, URL: show(r.URL)}, r.Header)
	res, err := c.direct.RoundTrip(r)
	if err != nil {
		sent.ended(0, err)
		return 0, fmt.Errorf("post to %s: %w", url, err)
	}
	sent.ended(res.StatusCode, nil)
	defer res.Body.Close() //nolint:errcheck // the status is all that is wanted
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswered)
	return res.StatusCode, nil
}

// Asker returns a client for others than repositories, such as identity
// providers: it judges every address that it dials as all of c does, and
// follows no redirect.
func (c *Client) Asker(timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: c.direct, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
