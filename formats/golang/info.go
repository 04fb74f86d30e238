package golang

import (
	"encoding/json"
	"time"

	"golang.org/x/mod/semver"
)

// maxInfo is the size of a .info file or an answer to @latest, in bytes.
const maxInfo = 16 << 10

// info is what .info and @latest tell of a version.
type info struct {
	Version string
	Time    time.Time       `json:",omitzero"`
	Origin  json.RawMessage `json:",omitempty"`
}

// parseInfo reads one, which must have a semantic version.
func parseInfo(data []byte) (info, error) {
	if len(data) > maxInfo {
		return info{}, bad("info has %d bytes, at most %d are possible", len(data), maxInfo)
	}
	var i info
	switch err := json.Unmarshal(data, &i); {
	case err != nil:
		return info{}, bad("info: %v", err)
	case !semver.IsValid(i.Version):
		return info{}, bad("info has the version %q", i.Version)
	}
	return i, nil
}

// parseInfoOf reads the info of a known version.
func parseInfoOf(data []byte, version string) (info, error) {
	i, err := parseInfo(data)
	if err == nil && i.Version != version {
		return info{}, bad("info has the version %q, not %q", i.Version, version)
	}
	return i, err
}

// encode returns the info as JSON.
func (i info) encode() ([]byte, error) {
	data, err := json.Marshal(i)
	if err != nil {
		return nil, bad("info: %v", err)
	}
	return data, nil
}

// infoMeta is the Meta of a .info record: enough to make the pointer of
// @latest without opening the file.
type infoMeta struct {
	info
	// Made: no publisher sent this file; the next one who does replaces it.
	Made bool `json:",omitempty"`
}

// zipMeta is the Meta of a .zip record.
type zipMeta struct {
	H1 string `json:"h1"` // as in go.sum
}
