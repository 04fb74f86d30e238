package npm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"granary/digest"
	"granary/formats"
)

// Component takes the form with the field "npm.asset", a tarball. Name and
// version are read from it, and it becomes the latest.
func (*Format) Component() formats.Op {
	return formats.Op{Kind: formats.Write, Label: labelComponent}
}

func component(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	form, err := formats.NewForm(up)
	if err != nil {
		return err
	}
	var tarball formats.Blob
	for {
		part, err := form.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if part.FormName() != "npm.asset" {
			continue
		}
		if tarball != nil {
			return formats.BadRequest("npm.asset: the form has it twice")
		}
		if tarball, err = tx.Blob(ctx, part, digest.SHA1, digest.SHA512); err != nil {
			return fmt.Errorf("receive npm.asset: %w", err)
		}
	}
	if tarball == nil {
		return formats.BadRequest("npm.asset: the form has no file")
	}
	c, err := inspect(ctx, tarball)
	if err != nil {
		return err
	}
	return publish(ctx, publication{tags: map[string]string{"latest": plain(c.manifest.text("version"))}, tarball: tarball}, tx)
}
