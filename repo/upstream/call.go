package upstream

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"granary/formats"
)

const (
	maxRedirects = 10
	drain        = 4 << 10 // bytes read of a body nobody wants, to keep its connection
)

// call is one request of a caller, through redirects and tokens.
type call struct {
	client  *Client
	method  string
	request Request
	auth    *Credentials
	trust   trust
	// public: a public address was met on the way.
	public bool
	// left: the way has left those who may see credentials.
	left bool
	// refused is a bearer token that was just found to be bad.
	refused string
}

func (c *Client) do(parent context.Context, method string, r Request) (*Response, error) {
	base, u, err := r.target()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(parent)
	patience := time.AfterFunc(c.timeouts.Answer, func() { cancel(errSlow) })
	deadline := time.Now().Add(c.timeouts.Answer)
	k := &call{client: c, method: method, request: r, auth: r.Auth, trust: trust{originOf(base), r.Realms}}
	k.left = !k.trust.covers(u)
	k.public = originOf(u) != k.trust.base && c.guard.mayBePublic(ctx, base.Hostname())
	h, err := k.follow(ctx, u)
	var resp *Response
	if err == nil {
		resp, err = k.result(h)
	}
	patience.Stop()
	if err != nil || resp.Body == http.NoBody {
		cancel(nil)
	}
	if err != nil {
		if parent.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", method, show(u), context.Cause(parent))
		}
		return nil, err
	}
	if resp.Body != http.NoBody {
		resp.Body = &body{
			from: h.Body, size: resp.Size, pass: h.pass, url: h.url, gone: parent.Err,
			cause: func() error { return context.Cause(ctx) },
			timer: patience, idle: c.timeouts.Idle, first: deadline, cancel: cancel,
		}
	}
	return resp, nil
}

// mayBePublic tells whether links of a host are to be judged like redirects of
// a public address.
func (g *guard) mayBePublic(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	addrs, err := g.addresses(ctx, host)
	for _, a := range addrs {
		if classify(a) == public {
			return true
		}
	}
	return err != nil
}

// hop is an answer on the way.
type hop struct {
	*http.Response
	url  *url.URL
	pass *pass
}

func (h *hop) close() {
	io.CopyN(io.Discard, h.Body, drain) //nolint:errcheck // nobody wants it
	h.Body.Close()                      //nolint:errcheck // read only
	h.pass.end()
}

// follow asks, and asks again where an answer leads to.
func (c *call) follow(ctx context.Context, u *url.URL) (*hop, error) {
	for n := 0; ; n++ {
		h, err := c.ask(ctx, u)
		if err != nil {
			return nil, err
		}
		if !isRedirect(h.StatusCode) {
			return h, nil
		}
		h.pass.good()
		h.close()
		if c.method == http.MethodPost {
			return nil, h.failed("redirects what was sent to it")
		}
		if n == maxRedirects {
			return nil, h.failed("more than %d redirects", maxRedirects)
		}
		next, err := u.Parse(h.Header.Get("Location"))
		if err != nil || h.Header.Get("Location") == "" {
			return nil, h.failed("redirect without a location that can be read")
		}
		if err := checkURL(next); err != nil {
			return nil, h.failed("redirect: %w", err)
		}
		c.left = c.left || !c.trust.covers(next)
		u = next
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// failed is an error about an answer.
func (h *hop) failed(format string, args ...any) *Error {
	return &Error{URL: show(h.url), Status: h.StatusCode, Err: fmt.Errorf(format, args...), kind: formats.ErrUpstream}
}

// ask sends one request with what credentials it may carry, and once more with
// a token if it is challenged for one.
func (c *call) ask(ctx context.Context, u *url.URL) (*hop, error) {
	header := c.header()
	if c.left {
		return c.exchange(ctx, c.method, u, header)
	}
	tokens, area := c.client.tokens, areaOf(u, c.auth)
	known, ok := tokens.find(area)
	switch {
	case ok:
		header.Set("Authorization", "Bearer "+known.value)
	case c.auth != nil:
		header.Set("Authorization", c.auth.basic())
	}
	h, err := c.exchange(ctx, c.method, u, header)
	if err != nil || h.StatusCode != http.StatusUnauthorized {
		return h, err
	}
	tokens.drop(area)
	ch, ok := bearer(h.Header)
	if !ok {
		return h, nil
	}
	h.pass.good()
	h.close()
	c.refused = known.value
	t, err := c.answer(ctx, ch)
	if err != nil {
		return nil, h.noToken(err)
	}
	header.Set("Authorization", "Bearer "+t.value)
	if h, err = c.exchange(ctx, c.method, u, header); err == nil && h.StatusCode != http.StatusUnauthorized {
		tokens.keep(area, t)
	}
	return h, err
}

// noToken says that a challenge could not be answered. What failed on the way
// to the realm keeps its own kind.
func (h *hop) noToken(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	return h.failed("asks for a token: %w", err)
}

func (c *Credentials) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// header returns what every hop of a call carries.
func (c *call) header() http.Header {
	h := c.request.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	for _, name := range []string{"Authorization", "Cookie", "Host", "Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		h.Del(name)
	}
	r := c.request
	switch {
	case r.ranged():
		to := ""
		if r.Length > 0 {
			to = strconv.FormatInt(r.Offset+r.Length-1, 10)
		}
		h.Set("Range", "bytes="+strconv.FormatInt(r.Offset, 10)+"-"+to)
		if strings.HasPrefix(r.ETag, `"`) {
			h.Set("If-Range", r.ETag)
		}
	default:
		if r.ETag != "" {
			h.Set("If-None-Match", r.ETag)
		}
		if r.LastModified != "" {
			h.Set("If-Modified-Since", r.LastModified)
		}
	}
	return h
}

// exchange sends one request, if its host may be asked, and remembers what
// kind of address it reached.
func (c *call) exchange(ctx context.Context, method string, u *url.URL, header http.Header) (*hop, error) {
	pass, closed := c.client.gate.enter(originOf(u))
	if closed != nil {
		return nil, &Error{
			URL: show(u), Status: closed.status, RetryAfter: closed.wait, Err: ErrOpen, kind: formats.ErrUpstream,
		}
	}
	var reached atomic.Pointer[net.Addr]
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		a := i.Conn.RemoteAddr()
		reached.Store(&a)
	}}
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader(c.request.Body)
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, u.String(), body)
	if err != nil {
		pass.end()
		return nil, failure(u, withoutURL(err))
	}
	req.Header = header.Clone()
	req.Header.Set("User-Agent", c.client.userAgent)
	req.Header.Set("Accept-Encoding", "identity")
	sent := c.client.send(ctx, Exchange{Method: method, Host: u.Host, URL: show(u)}, req.Header)

	transport := c.client.direct
	if c.public {
		transport = c.client.afterPublic
	}
	resp, err := transport.RoundTrip(req) //nolint:bodyclose // closed by who reads it, or below
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		sent.ended(0, err)
		if blames(ctx, err, reached.Load() != nil) {
			pass.bad()
		}
		pass.end()
		return nil, failure(u, err)
	}
	sent.ended(resp.StatusCode, nil)
	if a := reached.Load(); a != nil && classify(addressOf(*a)) == public {
		c.public = true
	}
	return &hop{resp, u, pass}, nil
}

// blames tells whether an error is the host's fault, as opposed to ours or the
// caller's: who waited in vain for a free connection has not been failed by it.
func blames(ctx context.Context, err error, connected bool) bool {
	switch cause := context.Cause(ctx); {
	case errors.Is(err, ErrAddress):
		return false
	case cause == nil:
		return true
	default:
		return errors.Is(cause, errSlow) && connected
	}
}

// addressOf is invalid, and so not public, for what is not TCP.
func addressOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr()
	}
	return netip.Addr{}
}
