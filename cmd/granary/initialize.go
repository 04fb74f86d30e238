package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"granary/auth"
)

// initialize makes what the configuration lists for a first start. Each entry
// has the shape of a REST body and is taken as that request is, by the server
// itself; what is there already stays as it is, so that nodes may start at once.
func (n *node) initialize(ctx context.Context) error {
	init := n.config.Initialization
	stores := append(n.config.Stores, init.Stores...)
	if len(stores)+len(init.Repositories)+len(init.Roles)+len(init.Users)+len(init.Settings) == 0 {
		return nil
	}
	h, err := n.handler(system{}, nil)
	if err != nil {
		return err
	}
	for _, kind := range []struct {
		path    string
		entries []map[string]any
	}{
		{"stores", stores},
		{"repositories", init.Repositories},
		{"roles", init.Roles},
		{"users", init.Users},
	} {
		for _, e := range kind.entries {
			err := call(ctx, h, http.MethodPost, "/api/v1/"+kind.path, e)
			if err != nil {
				return fmt.Errorf("initialization.%s %v: %w", kind.path, e["name"], err)
			}
		}
	}
	if init.Settings == nil {
		return nil
	}
	if err := call(ctx, h, http.MethodPut, "/api/v1/settings", init.Settings); err != nil {
		return fmt.Errorf("initialization.settings: %w", err)
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

func call(ctx context.Context, h http.Handler, method, path string, body map[string]any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.RequestURI, r.RemoteAddr = path, "127.0.0.1:0"
	w := &answer{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(w, r)
	if w.status >= http.StatusBadRequest && w.status != http.StatusConflict {
		var said struct{ Error struct{ Message string } }
		if json.Unmarshal(w.body.Bytes(), &said) == nil && said.Error.Message != "" {
			return fmt.Errorf("%s", said.Error.Message)
		}
		return fmt.Errorf("status %d", w.status)
	}
	return nil
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
