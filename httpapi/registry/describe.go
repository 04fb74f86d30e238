package registry

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// described is an operation of the surface as the OpenAPI document tells it.
type described struct {
	id, method, path, summary string
	query                     map[string]string // what each parameter is
	answers                   []int             // successes
	takes                     string            // media type of the body, "" for none
	gives                     string            // media type of the answer, "" for none
}

const (
	jsonType = "application/json"
	anyType  = "*/*"
	octets   = "application/octet-stream"
	formType = "application/x-www-form-urlencoded"
)

// operations are those of the OCI Distribution Specification 1.1, the token
// server, and Docker's catalog. In templates a name is one segment; clients send
// the slashes of a name as they are.
func operations() []described {
	const manifest, blob, upload = Prefix + "/{name}/manifests/{reference}", Prefix + "/{name}/blobs/{digest}", Prefix + "/{name}/blobs/uploads/{session}"
	page := map[string]string{"n": "How many at the most.", "last": "Those behind this one."}
	chunk := map[string]string{"digest": "What the whole is, sha256:<hex>."}
	return []described{
		{"registry-base", http.MethodGet, Prefix + "/", "Whether the caller is known", nil, []int{200}, "", jsonType},
		{"registry-token", http.MethodGet, Prefix + "/token", "A token for scopes", map[string]string{"service": "granary", "scope": "repository:<name>:pull,push", "account": "The user."}, []int{200}, "", jsonType},
		{"registry-token-form", http.MethodPost, Prefix + "/token", "A token for who shows a password or token in a form", nil, []int{200}, formType, jsonType},
		{"registry-catalog", http.MethodGet, Prefix + "/_catalog", "The images that the caller may read", page, []int{200}, "", jsonType},
		{"registry-tags", http.MethodGet, Prefix + "/{name}/tags/list", "The tags of an image", page, []int{200}, "", jsonType},
		{"registry-referrers", http.MethodGet, Prefix + "/{name}/referrers/{digest}", "What refers to a manifest", map[string]string{"artifactType": "Only those of this type."}, []int{200}, "", anyType},
		{"registry-manifest", http.MethodGet, manifest, "A manifest by tag or digest", nil, []int{200, 206, 304, 307}, "", anyType},
		{"registry-manifest-head", http.MethodHead, manifest, "Whether there is a manifest", nil, []int{200, 304}, "", ""},
		{"registry-manifest-put", http.MethodPut, manifest, "Push a manifest", nil, []int{201}, anyType, ""},
		{"registry-manifest-delete", http.MethodDelete, manifest, "Delete a tag or a manifest", nil, []int{202}, "", ""},
		{"registry-blob", http.MethodGet, blob, "A blob", nil, []int{200, 206, 304, 307}, "", octets},
		{"registry-blob-head", http.MethodHead, blob, "Whether there is a blob", nil, []int{200, 304}, "", ""},
		{"registry-blob-delete", http.MethodDelete, blob, "Delete a blob", nil, []int{202}, "", ""},
		{"registry-upload", http.MethodPost, Prefix + "/{name}/blobs/uploads/", "Begin an upload, push a blob whole, or mount one", map[string]string{
			"digest": "Of a blob that the body is.", "mount": "Digest of a blob that another image has.", "from": "That image.",
		}, []int{201, 202}, octets, ""},
		{"registry-upload-state", http.MethodGet, upload, "How far an upload is", nil, []int{204}, "", ""},
		{"registry-upload-chunk", http.MethodPatch, upload, "Go on with an upload", nil, []int{202}, octets, ""},
		{"registry-upload-finish", http.MethodPut, upload, "End an upload", chunk, []int{201}, octets, ""},
		{"registry-upload-cancel", http.MethodDelete, upload, "Give an upload up", nil, []int{204}, "", ""},
	}
}

// Describe adds the surface to an OpenAPI document.
func Describe(doc *huma.OpenAPI) {
	failure := &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{
		jsonType: {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[failures](), true, "Failures")},
	}}
	for _, o := range operations() {
		doc.AddOperation(o.describe(failure))
	}
}

func (o described) describe(failure *huma.Response) *huma.Operation {
	op := &huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Tags: []string{"registry"},
		Responses: map[string]*huma.Response{"default": failure},
	}
	text := &huma.Schema{Type: huma.TypeString}
	for _, name := range segments(o.path) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: text, Description: segmentIs[name]})
	}
	for name, is := range o.query {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Schema: text, Description: is})
	}
	for _, status := range o.answers {
		res := &huma.Response{Description: http.StatusText(status)}
		if o.gives != "" && status < 300 {
			res.Content = map[string]*huma.MediaType{o.gives: {}}
		}
		op.Responses[strconv.Itoa(status)] = res
	}
	if o.takes != "" {
		schema := &huma.Schema{Type: huma.TypeString, Format: "binary"}
		if o.takes == formType {
			schema = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: text}
		}
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{o.takes: {Schema: schema}}}
	}
	return op
}

var segmentIs = map[string]string{
	"name":      "Repository and image, with slashes: team/app.",
	"reference": "A tag, or sha256:<hex>.",
	"digest":    "sha256:<hex>.",
	"session":   "The id of an upload, from the Location of its begin.",
}

// segments are the names in the braces of a template.
func segments(path string) (names []string) {
	for i := 0; i < len(path); i++ {
		if path[i] != '{' {
			continue
		}
		for j := i; j < len(path); j++ {
			if path[j] == '}' {
				names = append(names, path[i+1:j])
				break
			}
		}
	}
	return names
}
