package formats

import (
	"encoding/json"
	"io"
)

// maxSnapshot is the longest request for a snapshot, in bytes.
const maxSnapshot = 64 << 10

// SnapshotRequest reads what a client wants to have listed under another name:
// {"source": …, "name": …}.
func SnapshotRequest(up *Upload) (source, name string, err error) {
	body, err := io.ReadAll(Limit(up.Body, maxSnapshot, "request"))
	if err != nil {
		return "", "", err
	}
	var in struct{ Source, Name string }
	if err := json.Unmarshal(body, &in); err != nil {
		return "", "", BadRequest("a snapshot needs {\"source\": …, \"name\": …}")
	}
	return in.Source, in.Name, nil
}
