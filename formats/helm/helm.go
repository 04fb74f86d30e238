// Package helm is a Helm chart repository: index.yaml, packaged charts with
// their provenance files, and the API of ChartMuseum for those who publish.
//
// All lies in one scope, the root. A chart is the record "<name>-<version>.tgz",
// whatever an upstream calls its file; beside it may lie "….tgz.prov". Its Meta
// is what the index says of it, already in the index's form, so that an index is
// put together from pieces and never parsed: see fragment.go. Of an upstream's
// index, which may have tens of megabytes, only the few keys that matter are
// looked at, line by line: see scan.go.
//
// See https://helm.sh/docs/topics/chart_repository/. Charts in OCI registries
// are the docker format's.
package helm

import (
	"net/http"
	"strings"

	"granary/formats"
)

// Format is the Helm format.
type Format struct{}

var (
	_ formats.Indexer           = Format{}
	_ formats.Promiser          = Format{}
	_ formats.Caller            = Format{}
	_ formats.Answerer          = Format{}
	_ formats.Failer            = Format{}
	_ formats.Titler            = Format{}
	_ formats.ComponentUploader = Format{}
)

// New returns the format.
func New() Format { return Format{} }

// Name is "helm".
func (Format) Name() string { return "helm" }

// Labels of operations.
const (
	labelIndex     = "index"
	labelChart     = "chart"
	labelProv      = "prov"
	labelUpload    = "upload"
	labelPush      = "push"      // POST api/charts
	labelPushProv  = "push prov" // POST api/prov
	labelComponent = "component"
	labelAPI       = "api"
)

// Paths and media types.
const (
	indexPath = "index.yaml"
	chartsDir = "charts/"
	apiCharts = "api/charts"
	apiProv   = "api/prov"
	uploading = "upload"

	chartExt  = ".tgz"
	provExt   = ".prov"
	typeIndex = "application/yaml"
	typeChart = "application/gzip"
	typeProv  = "application/pgp-signature"
	typeJSON  = "application/json"
)

// Route reads a path. Charts are at the root, and below "charts/" too.
func (Format) Route(req formats.Req) (formats.Op, bool) {
	if req.Slash {
		return formats.Op{}, false
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return routeRead(req.Path)
	case http.MethodPost:
		return routePost(req.Path)
	case http.MethodPut:
		if req.Path == uploading {
			return routePost(req.Path)
		}
		return routeFile(formats.Write, req.Path)
	case http.MethodDelete:
		if name, version, ok := apiVersion(req.Path); ok && version != "" {
			return routeFile(formats.Delete, fileName(name, version))
		}
		return routeFile(formats.Delete, req.Path)
	}
	return formats.Op{}, false
}

func routeRead(path string) (formats.Op, bool) {
	if path == indexPath {
		return formats.Op{Kind: formats.Doc, Label: labelIndex, Path: indexPath, Missing: true}, true
	}
	if name, version, ok := apiVersion(path); ok {
		op := formats.Op{Kind: formats.Call, Label: labelAPI, Verb: formats.VerbRead, Path: name}
		if version != "" {
			op.Name = fileName(name, version)
		}
		return op, true
	}
	return routeFile(formats.File, path)
}

func routePost(path string) (formats.Op, bool) {
	op := formats.Op{Kind: formats.Write}
	switch path {
	case apiCharts:
		op.Label = labelPush
	case apiProv:
		op.Label = labelPushProv
	case uploading:
		op.Label = labelUpload
	default:
		return op, false
	}
	return op, true
}

// apiVersion reads "api/charts", "api/charts/name" and "api/charts/name/1.0.0".
func apiVersion(path string) (name, version string, ok bool) {
	rest, ok := strings.CutPrefix(path, apiCharts)
	if !ok || rest == "" {
		return "", "", ok
	}
	name, version, _ = strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	ok = rest[0] == '/' && validName(name) && (version == "" || validVersion(version))
	return name, version, ok
}

func routeFile(kind formats.Kind, path string) (formats.Op, bool) {
	name := strings.TrimPrefix(path, chartsDir)
	op := formats.Op{Kind: kind, Name: name, Fixed: true}
	switch base, prov := strings.CutSuffix(name, provExt); {
	case len(base) <= len(chartExt) || !strings.HasSuffix(base, chartExt) || strings.Contains(name, "/"):
		return formats.Op{}, false
	case prov:
		op.Label, op.Type = labelProv, typeProv
	default:
		op.Label, op.Type = labelChart, typeChart
	}
	return op, true
}

// Disposition is the file's name.
func (Format) Disposition(op formats.Op) (string, bool) {
	return op.Name, op.Label == labelChart || op.Label == labelProv
}

// Component is the upload of Nexus: a chart in the field helm.asset.
func (Format) Component() formats.Op {
	return formats.Op{Kind: formats.Write, Label: labelComponent}
}
