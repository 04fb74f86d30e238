package repo_test

import (
	"context"
	"crypto/sha256"
	"errors"

	"granary/digest"
	"granary/formats"
)

// promising is a format of one file whose digest the path promises.
type promising struct{ sum []byte }

func (promising) Name() string { return "raw" }

func (p promising) Route(req formats.Req) (formats.Op, bool) {
	sum := sha256.Sum256(p.sum)
	return formats.Op{Kind: formats.File, Label: "file", Name: req.Path, Sum: digest.Sums{SHA256: sum[:]}, Fixed: true}, true
}

func (promising) Accept(context.Context, formats.Op, *formats.Upload, formats.Tx) error {
	return errors.New("nothing is uploaded")
}
