// Package client is a small client of a granary server: it puts, fetches,
// lists and removes artifacts, resumes downloads that broke off, and checks
// what it received against the digest that the server names.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var (
	// ErrNotFound is returned when the server has no such artifact.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized is returned when the server does not know the
	// credentials, or they lack the right.
	ErrUnauthorized = errors.New("not allowed with these credentials")
	// ErrConflict is returned when somebody else was faster: what is to be made
	// is there, or what is to be changed has changed.
	ErrConflict = errors.New("changed meanwhile")
)

// Client speaks to servers. The zero value works, without credentials.
type Client struct {
	// Username and Password are sent as Basic, or Token as Bearer if set.
	Username, Password, Token string
	HTTP                      *http.Client // optional
	// Progress is told of each transfer and its length in bytes (-1: unknown);
	// what is transferred is written to what it returns. Optional.
	Progress func(name string, size int64) Progress
	// Retries is how often a broken transfer is taken up again; 0 is 5, -1 never.
	Retries int
	// Wait returns the pause before a retry; optional.
	Wait func(try int) time.Duration
}

// Progress follows one transfer.
type Progress interface {
	// Done moves on by n bytes, or back if n is negative.
	Done(n int64)
	// End is called once.
	End()
}

// Artifact is a URL of a server taken apart.
type Artifact struct {
	Server     string // scheme, host and what comes before /repository/
	Repository string
	Path       string
}

// ParseArtifact reads …/repository/NAME/PATH; the path may be empty.
func ParseArtifact(raw string) (Artifact, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Artifact{}, fmt.Errorf("address %q: %w", raw, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Artifact{}, fmt.Errorf("address %q is not an http or https URL", raw)
	}
	before, after, ok := strings.Cut(u.Path, "/repository/")
	name, path, _ := strings.Cut(after, "/")
	if !ok || name == "" {
		return Artifact{}, fmt.Errorf("address %q has no /repository/NAME/ in it", raw)
	}
	server := url.URL{Scheme: u.Scheme, Host: u.Host, Path: before}
	return Artifact{Server: server.String(), Repository: name, Path: path}, nil
}

// URL is where the artifact is put and fetched.
func (a Artifact) URL() string {
	u := url.URL{Path: "/repository/" + a.Repository + "/" + a.Path}
	return a.Server + u.EscapedPath()
}

func (c *Client) retries() int {
	switch {
	case c.Retries < 0:
		return 0
	case c.Retries == 0:
		return 5
	}
	return c.Retries
}

func (c *Client) pause(ctx context.Context, try int) error {
	wait := min(time.Second<<min(try, 5), 30*time.Second)
	if c.Wait != nil {
		wait = c.Wait(try)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, address, err)
	}
	switch {
	case c.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.Token)
	case c.Username != "":
		req.SetBasicAuth(c.Username, c.Password)
	}
	return req, nil
}

func (c *Client) send(req *http.Request) (*http.Response, error) {
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only its beginning is of interest
	return nil, refusal(req, resp)
}

// StatusError is an answer that was no success.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// Is makes the sentinels of this package match.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	case ErrConflict:
		return e.Status == http.StatusConflict || e.Status == http.StatusPreconditionFailed
	}
	return false
}

// temporary tells whether the same request may succeed later.
func temporary(err error) bool {
	var s *StatusError
	if !errors.As(err, &s) {
		return true
	}
	return s.Status >= 500 && s.Status != http.StatusInsufficientStorage || s.Status == http.StatusTooManyRequests
}

// unreachable tells whether no connection was made at all.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// refusal says in one sentence what the server said.
func refusal(req *http.Request, resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) //nolint:errcheck // what there is of it helps
	var answer struct {
		Error struct{ Message string }
	}
	text := strings.TrimSpace(string(b))
	if json.Unmarshal(b, &answer) == nil && answer.Error.Message != "" {
		text = answer.Error.Message
	}
	if text == "" {
		text = http.StatusText(resp.StatusCode)
	}
	return &StatusError{resp.StatusCode, fmt.Sprintf("%s %s: %d: %s", req.Method, req.URL.Redacted(), resp.StatusCode, text)}
}

// Remove deletes an artifact.
func (c *Client) Remove(ctx context.Context, a Artifact) error {
	req, err := c.request(ctx, http.MethodDelete, a.URL(), nil)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
