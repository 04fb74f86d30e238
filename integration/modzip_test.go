package integration_test

import (
	"bytes"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// moduleZip is what the go command would publish of a folder.
func moduleZip(path, version, dir string) ([]byte, error) {
	var b bytes.Buffer
	err := zip.CreateFromDir(&b, module.Version{Path: path, Version: version}, dir)
	return b.Bytes(), err
}
