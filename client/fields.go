package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
)

// description is what the server's OpenAPI document says of request bodies.
type description struct {
	Paths map[string]map[string]struct {
		RequestBody struct {
			Content map[string]struct {
				Schema struct {
					Ref string `json:"$ref"`
				} `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

// fields are those of the bodies of an operation.
func (d *description) fields(at, method string) map[string]any {
	ref := d.Paths[at][method].RequestBody.Content["application/json"].Schema.Ref
	return d.Components.Schemas[path.Base(ref)].Properties
}

// Check returns an error that names a field of a document which the server does
// not know: it would be ignored. Fields of settings are looked at by
// [Client.Plan].
func (c *Client) Check(ctx context.Context, server string, d Document) error {
	var known description
	if err := c.describe(ctx, server, &known); err != nil {
		return err
	}
	for _, k := range d.kinds() {
		at := "/api/v1/" + k.path
		one := at + "/{" + k.key + "}"
		fields := known.fields(at, "post")
		if len(fields) == 0 {
			return fmt.Errorf("the server at %s does not say which fields %s have", server, k.path)
		}
		for i, entry := range k.entries {
			for _, field := range slices.Sorted(maps.Keys(entry)) {
				_, creates := fields[field]
				_, updates := known.fields(one, "put")[field]
				if !creates && !updates {
					return fmt.Errorf("%s[%d] (%v): there is no field %s", k.path, i, entry[k.key], field)
				}
			}
		}
	}
	return nil
}

func (c *Client) describe(ctx context.Context, server string, into *description) error {
	req, err := c.request(ctx, http.MethodGet, server+"/api-docs/openapi.json", nil)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return fmt.Errorf("ask which fields there are: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read which fields there are: %w", err)
	}
	return nil
}
