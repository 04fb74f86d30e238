package httpapi

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"granary/httpapi/rest"
)

// artifactOperations are what every format answers below a repository. What a
// path means, and which others there are, is the format's.
var artifactOperations = []struct {
	id, method, summary string
	answers             []int
}{
	{"get-file", http.MethodGet, "A file or document of a repository", []int{200, 206, 304, 307}},
	{"head-file", http.MethodHead, "Whether there is a file or document", []int{200, 304}},
	{"put-file", http.MethodPut, "Upload in the way of the repository's format", []int{200, 201, 204}},
	{"post-file", http.MethodPost, "Upload, or call what the repository's format has", []int{200, 201, 202, 204}},
	{"delete-file", http.MethodDelete, "Delete in the way of the repository's format", []int{200, 202, 204}},
}

// describeArtifacts adds the routes below /repository/ to an OpenAPI document.
func describeArtifacts(doc *huma.OpenAPI) {
	text := &huma.Schema{Type: huma.TypeString}
	made := doc.Components.Schemas.Schema(reflect.TypeFor[rest.Artifact](), true, "Artifact")
	for _, o := range artifactOperations {
		op := &huma.Operation{
			OperationID: o.id, Method: o.method, Path: artifactRoute, Summary: o.summary, Tags: []string{"repository"},
			Parameters: []*huma.Param{
				{Name: "repo", In: "path", Required: true, Schema: text, Description: "The repository, perhaps as it was: name@snapshot, name@time."},
				{Name: "path", In: "path", Required: true, Schema: text, Description: "With slashes as they are."},
			},
			// In the form that the format's clients understand.
			Responses: map[string]*huma.Response{"default": {Description: "Error", Content: map[string]*huma.MediaType{"*/*": {}}}},
		}
		for _, status := range o.answers {
			res := &huma.Response{Description: http.StatusText(status)}
			switch {
			case status == http.StatusCreated:
				res.Content = map[string]*huma.MediaType{"application/json": {Schema: made}}
			case o.method != http.MethodHead && status < 300 && status != http.StatusNoContent:
				res.Content = map[string]*huma.MediaType{"*/*": {}}
			}
			op.Responses[strconv.Itoa(status)] = res
		}
		if o.method == http.MethodPut || o.method == http.MethodPost {
			op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
		}
		doc.AddOperation(op)
	}
}
