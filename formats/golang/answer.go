package golang

import (
	"encoding/json"
	"net/http"
	"strings"

	"golang.org/x/mod/module"

	"granary/formats"
)

// Answer tells who sent a version to upload what it is called now, and the hash
// that go.sum will have.
func (*Format) Answer(w http.ResponseWriter, _ *http.Request, op formats.Op, records []formats.Record) bool {
	if op.Label != labelUpload {
		return false
	}
	for _, rec := range records {
		base, ext, ok := splitExt(rec.Name)
		if !ok || ext != labelZip {
			continue
		}
		name, err := module.UnescapePath(strings.TrimSuffix(rec.Scope, versions))
		if err != nil {
			return false
		}
		version, err := module.UnescapeVersion(base)
		if err != nil {
			return false
		}
		var meta zipMeta
		if json.Unmarshal(rec.Meta, &meta) != nil {
			return false
		}
		w.Header().Set("Content-Type", typeJSON)
		w.WriteHeader(http.StatusOK)
		// An error here is the client's going away: the status has been sent.
		json.NewEncoder(w).Encode(map[string]string{ //nolint:errcheck,errchkjson // see above
			"module": name, "version": version, "path": rec.Key(), "sum": meta.H1,
		})
		return true
	}
	return false
}
