package dynamo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"granary/kv"
)

// client sends requests to the service and repeats what may be repeated.
type client struct {
	api     *dynamodb.Client
	amazon  bool // the service is Amazon's own
	sender  sender
	retries int
	timeout time.Duration // of one request
	count   counters
	observe func(context.Context, Event)
}

func newClient(cfg Config) *client {
	dialer := &net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &client{
		sender: sender{&http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         dialer.DialContext,
				TLSHandshakeTimeout: cfg.ConnectTimeout,
				TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
				MaxIdleConns:        0,
				MaxIdleConnsPerHost: 256,
				IdleConnTimeout:     60 * time.Second,
				DisableCompression:  true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}},
		retries: cfg.MaxRetries,
		timeout: cfg.ConnectTimeout + cfg.ReadTimeout,
		observe: cfg.Observe,
	}
}

func (c *client) close() { c.sender.CloseIdleConnections() }

// effect is what a request does, which decides how often it may be repeated.
type effect int

const (
	reads    effect = iota
	blindly         // a write that may be repeated, and given up
	settling        // a conditional write: repeated until its outcome is known
)

// request is one request; it returns the consumed capacity.
type request func(context.Context) (units float64, err error)

// run sends a request until it succeeds, fails for good, or may not be repeated
// any more. A conflict is returned as the SDK's error. doubtful says that an
// earlier sending of it may have been carried out.
func (c *client) run(ctx context.Context, operation string, e effect, send request) (doubtful bool, err error) {
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return doubtful, ended(ctx, operation, doubtful, err)
		}
		var f fate
		f, err = c.once(ctx, operation, e, n > 0, send)
		if f == done || f == conflict {
			return doubtful, err
		}
		if f.uncertain() && e != reads && !doubtful {
			doubtful = true
			c.count.unsettled.Add(1)
		}
		switch {
		case ctx.Err() != nil:
			return doubtful, ended(ctx, operation, doubtful, err)
		case f.final() || n >= c.retries && !(doubtful && e == settling):
			return doubtful, given(operation, f, doubtful, n+1, err)
		}
		if sleep(ctx, backoff(n)) != nil {
			return doubtful, ended(ctx, operation, doubtful, err)
		}
	}
}

// once sends a request one time.
func (c *client) once(ctx context.Context, operation string, e effect, again bool, send request) (fate, error) {
	var m mark
	bounded, cancel := context.WithTimeout(context.WithValue(ctx, markKey{}, &m), c.timeout)
	defer cancel()
	began := time.Now() // measured, not decided by
	units, err := send(bounded)
	f := judge(err, m.sent.Load(), m.cut.Load())
	event := Event{Operation: operation, Elapsed: time.Since(began), Outcome: f.String(), Retry: again}
	if e == reads {
		event.ReadUnits = units
	} else {
		event.WriteUnits = units
	}
	c.count.add(event)
	if c.observe != nil {
		c.observe(ctx, event)
	}
	return f, err
}

// ended is the error of a call whose context is over; last is what the last
// request ended with, if there was one.
func ended(ctx context.Context, operation string, doubtful bool, last error) error {
	why := ctx.Err()
	if !doubtful {
		return fmt.Errorf("%s: %w", operation, why)
	}
	return fmt.Errorf("%w: %s: %w (%v)", kv.ErrUnknown, operation, why, last) //nolint:errorlint // may be nil
}

// given is the error of a call that is given up after a number of requests, the
// last of which had fate f.
func given(operation string, f fate, doubtful bool, requests int, last error) error {
	switch {
	case doubtful:
		return fmt.Errorf("%w: %s, sent %d times: %w", kv.ErrUnknown, operation, requests, last)
	case f == throttled || f == faulty:
		return fmt.Errorf("%w: %s, sent %d times: %w", kv.ErrThrottled, operation, requests, last)
	case f == refused:
		return last // the SDK's text names the operation
	}
	return fmt.Errorf("%s, tried %d times: %w", operation, requests, last)
}

const (
	backoffBase = 20 * time.Millisecond
	backoffCap  = 2 * time.Second
)

// backoff is how long to wait before repetition n, with full jitter.
func backoff(n int) time.Duration {
	return rand.N(min(backoffCap, backoffBase<<min(n, 16))) + 1 //nolint:gosec // spreads load, keeps no secret
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sender is the HTTP client of the SDK for the service alone, not for the
// fetching of credentials. It notes in a request's mark that it may have left,
// as what failed before needs no settling, and that its answer was cut off.
type sender struct{ *http.Client }

// Do implements the SDK's HTTPClient.
func (s sender) Do(r *http.Request) (*http.Response, error) {
	m, ok := r.Context().Value(markKey{}).(*mark)
	if !ok {
		return nil, errors.New("dynamo: request without a mark")
	}
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { m.sent.Store(true) },
	})
	resp, err := s.Client.Do(r.WithContext(ctx))
	if err == nil {
		resp.Body = answer{resp.Body, m}
	}
	return resp, err
}

type markKey struct{}

// mark is what is known of a request beside its error.
type mark struct {
	sent atomic.Bool // a connection was given to it
	cut  atomic.Bool // the body of its answer could not be read to the end
}

// answer is the body of an answer.
type answer struct {
	io.ReadCloser
	mark *mark
}

func (a answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader returns it as it is
		a.mark.cut.Store(true)
	}
	return n, err
}
