package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Document is a configuration to be brought about. Entries have the shape of
// the REST bodies that make them; what they leave out is not touched.
type Document struct {
	Stores       []map[string]any
	Repositories []map[string]any
	Roles        []map[string]any
	Users        []map[string]any
	Settings     map[string]any
}

// Change is a step of a plan.
type Change struct {
	Kind, Name string // "repository", "files"
	New        bool
	// Fields tells what changes of something that is there: "quota_bytes: null → 10".
	Fields []string

	method, path string
	body         map[string]any
	match        string // entity tag of what the plan was made from
}

func (c Change) String() string {
	if c.New {
		return "+ " + c.Kind + " " + c.Name
	}
	return "~ " + strings.TrimSpace(c.Kind+" "+c.Name) + ": " + strings.Join(c.Fields, ", ")
}

// kind is a sort of things with names.
type kind struct {
	noun, path, key string
	entries         []map[string]any
}

// kinds are in the order in which one may need the other.
func (d Document) kinds() []kind {
	return []kind{
		{"store", "stores", "name", d.Stores}, {"repository", "repositories", "name", d.Repositories},
		{"role", "roles", "name", d.Roles}, {"user", "users", "username", d.Users},
	}
}

// secrets can't be compared, as the server does not show them: they are sent
// with what is new, and along with other changes.
var secrets = map[string]bool{"password": true, "secret_key": true}

// Plan compares a document with what the server has, and changes nothing.
func (c *Client) Plan(ctx context.Context, server string, d Document) ([]Change, error) {
	var err error
	if d.Repositories, err = membersFirst(d.Repositories); err != nil {
		return nil, err
	}
	var plan []Change
	for _, k := range d.kinds() {
		for i, want := range k.entries {
			name, ok := want[k.key].(string)
			if !ok || name == "" {
				return nil, fmt.Errorf("%s[%d]: %s is missing", k.path, i, k.key)
			}
			change, err := c.planOne(ctx, server, k, name, want)
			if err != nil {
				return nil, err
			}
			if change != nil {
				plan = append(plan, *change)
			}
		}
	}
	if len(d.Settings) == 0 {
		return plan, nil
	}
	is, tag, err := c.read(ctx, server+"/api/v1/settings")
	if err != nil {
		return nil, err
	}
	for _, field := range slices.Sorted(maps.Keys(d.Settings)) {
		// The answer has every field; a server ignores others, and each plan would try again.
		if _, ok := is[field]; !ok {
			return nil, fmt.Errorf("settings: there is no field %s", field)
		}
	}
	if fields := differences(is, d.Settings); len(fields) > 0 {
		// A PUT replaces all of it.
		maps.Copy(is, d.Settings)
		plan = append(plan, Change{Kind: "settings", Fields: fields, method: http.MethodPut, path: "/api/v1/settings", body: is, match: tag})
	}
	return plan, nil
}

// planOne returns nil where nothing is to be done.
func (c *Client) planOne(ctx context.Context, server string, k kind, name string, want map[string]any) (*Change, error) {
	path := "/api/v1/" + k.path + "/" + url.PathEscape(name)
	is, tag, err := c.read(ctx, server+path)
	if errors.Is(err, ErrNotFound) {
		return &Change{Kind: k.noun, Name: name, New: true, method: http.MethodPost, path: "/api/v1/" + k.path, body: want}, nil
	}
	if err != nil {
		return nil, err
	}
	fields := differences(is, want)
	if len(fields) == 0 {
		return nil, nil
	}
	body := maps.Clone(want)
	if k.noun == "user" {
		delete(body, "password") // of a user who is there it is the user's own
	}
	return &Change{Kind: k.noun, Name: name, Fields: fields, method: http.MethodPut, path: path, body: body, match: tag}, nil
}

// Apply makes the changes of a plan, in order; told is called after each. A
// thing that was changed since the plan was made ends it with an error.
func (c *Client) Apply(ctx context.Context, server string, plan []Change, told func(Change)) error {
	for _, change := range plan {
		if err := c.write(ctx, server, change); err != nil {
			return fmt.Errorf("%s: %w", change, err)
		}
		told(change)
	}
	return nil
}

func (c *Client) read(ctx context.Context, address string) (map[string]any, string, error) {
	req, err := c.request(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", err
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var v map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return nil, "", fmt.Errorf("read %s: %w", address, err)
	}
	return v, resp.Header.Get("Etag"), nil
}

func (c *Client) write(ctx context.Context, server string, change Change) error {
	b, err := json.Marshal(change.body)
	if err != nil {
		return err
	}
	req, err := c.request(ctx, change.method, server+change.path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if change.match != "" {
		req.Header.Set("If-Match", change.match)
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// differences are what of want is not as it is, in words.
func differences(is, want map[string]any) []string {
	var out []string
	for _, field := range slices.Sorted(maps.Keys(want)) {
		if secrets[field] {
			continue
		}
		a, b := plain(is[field]), plain(want[field])
		if inner, ok := b.(map[string]any); ok {
			there, ok := a.(map[string]any)
			if !ok {
				out = append(out, field+": "+show(a)+" → "+show(visible(inner)))
				continue
			}
			for _, d := range differences(there, inner) {
				out = append(out, field+"."+d)
			}
			continue
		}
		if !reflect.DeepEqual(a, b) {
			out = append(out, field+": "+show(a)+" → "+show(b))
		}
	}
	return out
}

// visible leaves secrets out.
func visible(m map[string]any) map[string]any {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(k string, _ any) bool { return secrets[k] })
	return m
}

// plain is v as JSON would bring it, so that numbers of YAML and JSON are alike.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		return v
	}
	return out
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// membersFirst puts members before their groups.
func membersFirst(list []map[string]any) ([]map[string]any, error) {
	left := slices.Clone(list)
	var out []map[string]any
	waits := func(r map[string]any) bool {
		members, _ := plain(r["members"]).([]any)
		return slices.ContainsFunc(left, func(o map[string]any) bool { return slices.Contains(members, o["name"]) })
	}
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(r map[string]any) bool { return !waits(r) })
		if i < 0 {
			return nil, fmt.Errorf("repositories contain each other: %v", left[0]["name"])
		}
		out = append(out, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return out, nil
}
