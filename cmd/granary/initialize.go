package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"granary/auth"
	"granary/client"
	"granary/kv"
)

// firstDocument is what the configuration lists for a first start, as a document
// of granary apply.
func (c *Config) firstDocument() client.Document {
	init := c.Initialization
	return client.Document{
		Stores: slices.Concat(c.Stores, init.Stores), Repositories: init.Repositories, Roles: init.Roles, Users: init.Users, Settings: init.Settings,
	}
}

// hasStore tells whether the document makes a store of a name.
func hasStore(d client.Document, name string) bool {
	return slices.ContainsFunc(d.Stores, func(s map[string]any) bool { return s["name"] == name })
}

// initializeTries is how often a first start plans anew when another node, which
// does the same, was faster.
const initializeTries = 20

// initialize brings a document about on a first start, as granary apply does,
// with requests that the server sends to itself.
func (n *node) initialize(ctx context.Context, d client.Document) error {
	if len(d.Stores)+len(d.Repositories)+len(d.Roles)+len(d.Users)+len(d.Settings) == 0 {
		return nil
	}
	h, err := n.handler(system{}, nil)
	if err != nil {
		return err
	}
	const server = "http://localhost"
	c := client.Client{HTTP: &http.Client{Transport: itself{h}}}
	if err := c.Check(ctx, server, d); err != nil {
		// No reason to stay away: the REST surface ignores it too.
		n.log.WarnContext(ctx, "initialization", "ignored", err.Error())
	}
	for try := 1; ; try++ {
		plan, err := c.Plan(ctx, server, d)
		if err == nil {
			err = c.Apply(ctx, server, plan, func(change client.Change) { n.log.InfoContext(ctx, "initialization", "change", change.String()) })
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, client.ErrConflict) || try == initializeTries {
			return fmt.Errorf("initialization: %w", err)
		}
		select {
		case <-time.After(time.Duration(try) * 20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// firstStart remembers that a first start has begun and not ended.
type firstStart struct{ kv kv.Store }

type firstStartRecord struct {
	kv.Extra `cbor:"-"`
	Began    int64 `cbor:"1,keyasint,omitempty"` // Unix seconds
}

func (f firstStart) table() kv.Table[firstStartRecord] {
	return kv.Table[firstStartRecord]{Store: f.kv}
}

func firstStartKey() kv.Key { return kv.Config("start", "first") }

func (f firstStart) begin(ctx context.Context) error {
	_, err := f.table().Create(ctx, firstStartKey(), firstStartRecord{Began: wallClock().Unix()})
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("note the first start: %w", err)
	}
	return nil
}

func (f firstStart) begun(ctx context.Context) (bool, error) {
	_, _, err := f.table().Get(ctx, firstStartKey(), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a first start that was cut off: %w", err)
	}
	return true, nil
}

// end is no error where another node has ended it.
func (f firstStart) end(ctx context.Context) error {
	_, version, err := f.table().Get(ctx, firstStartKey(), kv.Consistent)
	if err == nil {
		err = f.table().Delete(ctx, firstStartKey(), version)
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("end the first start: %w", err)
	}
	return nil
}

// system is who asks when the server does.
type system struct{}

func (system) Authenticate(context.Context, *http.Request) (auth.Identity, error) {
	return auth.System(), nil
}

func (system) AuthenticateToken(context.Context, *http.Request, auth.Secret) (auth.Identity, error) {
	return auth.System(), nil
}

// itself takes requests to the server's own handler.
type itself struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (t itself) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "127.0.0.1:0"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close() //nolint:errcheck // bytes in memory
	w := &answer{header: http.Header{}, status: http.StatusOK}
	t.ServeHTTP(w, in)
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answer is an http.ResponseWriter in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
