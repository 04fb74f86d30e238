package pypi

import (
	"strings"

	"granary/formats"
)

// Component takes the form with the fields "pypi.asset", and perhaps
// "pypi.asset.name" or "name", "pypi.asset.version" or "version", and
// "pypi.asset.filename": what they leave out is read from the file.
func (*Format) Component() formats.Op {
	return formats.Op{Kind: formats.Write, Label: labelComponent}
}

// componentFields are the fields of Nexus's form by the names of the upload
// API.
var componentFields = map[string]string{
	"pypi.asset": "content", "pypi.asset.filename": fieldFile,
	"pypi.asset.name": "name", "pypi.asset.version": "version", "pypi.asset.attestations": "attestations",
}

// fieldFile is the name of the file where the part itself has another.
const fieldFile = "filename"

// field is what a field is called in the upload API.
func field(name string) string {
	if known, ok := componentFields[strings.ToLower(name)]; ok {
		return known
	}
	return name
}
