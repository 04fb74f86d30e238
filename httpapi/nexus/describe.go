package nexus

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// parameter is one of the query.
type parameter struct {
	name, doc string
	required  bool
}

func searchParameters() []parameter {
	return []parameter{
		{"repository", "The repository.", true},
		{"name", "A part of the path; with * at its end only, its beginning.", false},
		{"q", "A part of the path, in any case.", false},
		{"keyword", "As q; quotes around it are left out.", false},
		{"group", "The beginning of the path.", false},
		{"version", "The version of the package, * stands for any part of it. Not for raw files.", false},
		{"format", "The repository's format: of another one nothing is found.", false},
		{"sha256", "A checksum in hex; sha1, sha512, md5 and blake3 as well, of files for which it is known.", false},
		{"sort", "name, or version, which takes numbers in names as numbers. Up to 10,000 matches are sorted.", false},
		{"direction", "asc or desc.", false},
		{"continuationToken", "Where to go on: that of the page before.", false},
		{"limit", "Items on the page, 1000 by default, at most 100000.", false},
	}
}

// describe writes the route's part of the OpenAPI document.
func (r route) describe(schemas huma.Registry) *huma.Operation {
	text := &huma.Response{
		Description: "Error", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
	op := &huma.Operation{
		OperationID: r.id, Method: r.method, Path: Prefix + r.path, Summary: r.summary, Tags: []string{"nexus"},
		Responses: map[string]*huma.Response{"default": text},
	}
	for _, p := range r.query {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: p.name, In: "query", Description: p.doc, Required: p.required, Schema: &huma.Schema{Type: huma.TypeString},
		})
	}
	if strings.HasSuffix(r.path, "/{id}") {
		op.Parameters = append(op.Parameters, &huma.Param{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	for status, body := range r.answers {
		res := &huma.Response{Description: http.StatusText(status)}
		if body != nil {
			schema := schemas.Schema(reflect.TypeOf(body), true, r.id)
			res.Content = map[string]*huma.MediaType{"application/json": {Schema: schema}}
		}
		op.Responses[strconv.Itoa(status)] = res
	}
	if r.form {
		op.RequestBody = &huma.RequestBody{
			Required:    true,
			Description: "The fields of the repository's format: raw.directory, raw.asset1, raw.asset1.filename, and so on.",
			Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: &huma.Schema{
				Type: huma.TypeObject, AdditionalProperties: true,
			}}},
		}
	}
	return op
}
