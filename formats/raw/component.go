package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"granary/formats"
)

// Component is the form with the fields "raw.directory", "raw.asset1" and
// "raw.asset1.filename".
func (Format) Component() formats.Op {
	return formats.Op{Kind: formats.Write, Label: labelComponent}
}

// assetField is the name of a field with a file, or with the file's name.
var assetField = regexp.MustCompile(`^raw\.(asset[0-9]*)(\.filename)?$`)

// maxPath is the longest directory or file name of a form, in bytes.
const maxPath = 1024

// component is what a form has said so far.
type component struct {
	directory string
	names     map[string]string // by asset
	assets    []asset           // in the order of the form
}

type asset struct {
	field    string
	filename string // as the part itself says
	kind     string // its Content-Type
	blob     formats.Blob
}

// acceptComponent stores the files of a form in its directory. A name of its
// own comes before the one that the part has.
func acceptComponent(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	c, err := readComponent(ctx, up, tx)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var records []formats.Record
	for _, a := range c.assets {
		rec, err := c.record(a)
		if err != nil {
			return err
		}
		if seen[rec.Key()] {
			return formats.BadRequest("the form has two files %q", rec.Key())
		}
		seen[rec.Key()] = true
		records = append(records, rec)
	}
	for i, rec := range records {
		tx.Put(rec, c.assets[i].blob)
	}
	return nil
}

func readComponent(ctx context.Context, up *formats.Upload, tx formats.Tx) (*component, error) {
	form, err := formats.NewForm(up)
	if err != nil {
		return nil, err
	}
	c := &component{names: map[string]string{}}
	for {
		part, err := form.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := c.take(ctx, part, tx); err != nil {
			return nil, err
		}
	}
	if len(c.assets) == 0 {
		return nil, formats.BadRequest("raw.asset1: the form has no file")
	}
	return c, nil
}

// take reads one part; what it does not know is left out.
func (c *component) take(ctx context.Context, part *formats.Part, tx formats.Tx) error {
	field := part.FormName()
	if field == "raw.directory" {
		var err error
		c.directory, err = part.Text(maxPath)
		return err
	}
	m := assetField.FindStringSubmatch(field)
	if m == nil {
		return nil
	}
	if m[2] != "" {
		if len(c.names) == maxFiles {
			return formats.BadRequest("the form names more than %d files", maxFiles)
		}
		name, err := part.Text(maxPath)
		c.names[m[1]] = name
		return err
	}
	if len(c.assets) == maxFiles {
		return formats.BadRequest("the form has more than %d files", maxFiles)
	}
	b, err := tx.Blob(ctx, part)
	if err != nil {
		return fmt.Errorf("receive %s: %w", field, err)
	}
	c.assets = append(c.assets, asset{m[1], part.FileName(), part.Header.Get("Content-Type"), b})
	return nil
}

// record names a file: directory, then its name, which may have directories of
// its own.
func (c *component) record(a asset) (formats.Record, error) {
	name := c.names[a.field]
	if name == "" {
		name = a.filename
	}
	name = strings.Trim(name, "/")
	if name == "" {
		return formats.Record{}, formats.BadRequest("raw.%s.filename: is required, as the file has no name", a.field)
	}
	path := strings.TrimLeft(strings.Trim(c.directory, "/")+"/"+name, "/")
	if err := formats.CheckPath(path); err != nil {
		return formats.Record{}, err
	}
	op := file(formats.Write, path)
	return formats.Record{Scope: op.Scope, Name: op.Name, Type: mediaType(a.kind, op.Name)}, nil
}
