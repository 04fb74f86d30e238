package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Config of a [Client]; the zero value works.
type Config struct {
	// Deny and Allow are networks that the guard's own judgement does not
	// hold for. Of those with an address the narrowest decides, Deny before
	// Allow.
	Deny, Allow []netip.Prefix
	// Now is the clock that tokens, Retry-After and the breaker go by. nil:
	// time.Now. Time limits of a request go by the system's.
	Now func() time.Time
	// UserAgent is "granary" if empty.
	UserAgent string
	Timeouts  Timeouts
	// TLS, for certificates that the system does not trust. Optional.
	TLS *tls.Config
	// Sends is told of each request before it is sent, and may add to its
	// header, traceparent for one. What it returns is told of the request again
	// once its answer has begun or failed; nil for who does not want to know.
	// Optional.
	Sends func(context.Context, Exchange, http.Header) func(Exchange)
	// Resolve returns the addresses of a host name. nil: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address and port that the guard has let pass. nil: a
	// net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Timeouts bound a request. A zero field has the default of its comment.
type Timeouts struct {
	Connect time.Duration // until connected, and again for TLS: 5 s
	Header  time.Duration // from a request sent to the first byte of its answer: 30 s
	Answer  time.Duration // through redirects and tokens to the first byte of the body: 38 s
	Idle    time.Duration // between bytes of the body: 30 s
}

func (t Timeouts) orDefault() Timeouts {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Connect, 5*time.Second)
	set(&t.Header, 30*time.Second)
	set(&t.Answer, 38*time.Second) // so that a client hears of it within 40
	set(&t.Idle, 30*time.Second)
	return t
}

// Limits of connections and answers.
const (
	maxConnections = 128 // per host
	maxIdlePerHost = 16  // kept for later requests
	maxIdle        = 128 // of all hosts
	keepIdle       = 90 * time.Second
	maxHeader      = 256 << 10 // bytes of an answer's header
)

// Client asks upstreams. Its methods may be called concurrently.
type Client struct {
	now       func() time.Time
	userAgent string
	timeouts  Timeouts
	sends     func(context.Context, Exchange, http.Header) func(Exchange)
	guard     *guard
	gate      *gate
	tokens    *tokens
	// Connections are kept in two pools, so that one that the guard let pass
	// for a direct request is never used after a public address.
	direct, afterPublic *http.Transport
}

// New returns a client, to be shared by all repositories.
func New(c Config) *Client {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.UserAgent == "" {
		c.UserAgent = "granary"
	}
	if c.Sends == nil {
		c.Sends = func(context.Context, Exchange, http.Header) func(Exchange) { return nil }
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	t := c.Timeouts.orDefault()
	g := &guard{deny: unmapped(c.Deny), allow: unmapped(c.Allow), resolve: c.Resolve, dial: c.Dial, timeout: t.Connect}
	return &Client{
		now: c.Now, userAgent: c.UserAgent, timeouts: t, sends: c.Sends,
		guard: g, gate: newGate(c.Now), tokens: newTokens(c.Now),
		direct:      newTransport(c.TLS, t, g.dialer(false)),
		afterPublic: newTransport(c.TLS, t, g.dialer(true)),
	}
}

// unmapped writes IPv4 networks the way addresses are compared.
func unmapped(list []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(list))
	for _, p := range list {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}

func newTransport(config *tls.Config, t Timeouts, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // on purpose: see the package comment
		DialContext:            dial,
		TLSClientConfig:        config.Clone(),
		TLSHandshakeTimeout:    t.Connect,
		ResponseHeaderTimeout:  t.Header,
		MaxResponseHeaderBytes: maxHeader,
		MaxConnsPerHost:        maxConnections,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		MaxIdleConns:           maxIdle,
		IdleConnTimeout:        keepIdle,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}

// Close drops connections that are not in use.
func (c *Client) Close() {
	c.direct.CloseIdleConnections()
	c.afterPublic.CloseIdleConnections()
}

// Get asks for something. The error is formats.ErrNotFound if the upstream
// has no such thing, a formats.ErrUpstream if it could not be asked or did not
// answer with what can be used (the error is an [*Error] then),
// formats.ErrBadRequest for a path that can't be asked for, or the end of ctx.
// ctx covers the body too.
func (c *Client) Get(ctx context.Context, r Request) (*Response, error) {
	return c.do(ctx, http.MethodGet, r)
}

// Head is Get without the body.
func (c *Client) Head(ctx context.Context, r Request) (*Response, error) {
	r.Offset, r.Length = 0, 0
	return c.do(ctx, http.MethodHead, r)
}

// Send is Get by POST, with r.Body. Redirects are not followed: what was sent is for the one
// who was asked.
func (c *Client) Send(ctx context.Context, r Request) (*Response, error) {
	r.Offset, r.Length, r.ETag, r.LastModified = 0, 0, "", ""
	return c.do(ctx, http.MethodPost, r)
}
