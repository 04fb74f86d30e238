package helm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"granary/digest"
	"granary/formats"
)

// maxProv is the size of a provenance file in bytes.
const maxProv = 1 << 20

// submission is what came with one upload. Either may be missing.
type submission struct {
	chart, prov formats.Blob
	// name of the file in the request's path, "" if it has none.
	name  string
	force bool
}

// Accept publishes a chart, its provenance, or both, or removes a version.
func (Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	if op.Kind == formats.Delete {
		tx.Delete("", op.Name)
		if op.Label == labelChart {
			tx.Delete("", op.Name+provExt)
		}
		return nil
	}
	s, err := receive(ctx, op, up, tx)
	if err != nil {
		return err
	}
	return s.publish(ctx, tx)
}

// receive reads a form, or a body that is the file itself.
func receive(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) (submission, error) {
	s := submission{name: op.Name, force: up.Query.Has("force")}
	if formats.IsForm(up) && op.Label != labelChart && op.Label != labelProv {
		err := s.readForm(ctx, up, tx)
		return s, err
	}
	if op.Label == labelUpload || op.Label == labelComponent {
		return s, formats.BadRequest("a form with the file in the field chart is expected")
	}
	want, err := formats.Promised(up.Header)
	if err != nil {
		return s, err
	}
	prov := op.Label == labelProv || op.Label == labelPushProv
	body := up.Body
	if prov {
		body = formats.Limit(body, maxProv, "provenance")
	}
	b, err := tx.Blob(ctx, body, want.Algorithms()...)
	if err != nil {
		return s, fmt.Errorf("receive the file: %w", err)
	}
	if prov {
		s.prov = b
	} else {
		s.chart = b
	}
	return s, formats.CheckSums(b, want)
}

// readForm reads the fields chart and prov, or helm.asset as Nexus calls it;
// others are ignored.
func (s *submission) readForm(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	form, err := formats.NewForm(up)
	if err != nil {
		return err
	}
	for {
		part, err := form.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch name := part.FormName(); name {
		case "chart", "helm.asset":
			err = s.take(ctx, &s.chart, part, part, tx)
		case "prov", "helm.asset.prov":
			err = s.take(ctx, &s.prov, part, formats.Limit(part, maxProv, "provenance"), tx)
		case "force":
			s.force = true
		}
		if err != nil {
			return err
		}
	}
	if s.chart == nil && s.prov == nil {
		return formats.BadRequest("the form has no field chart")
	}
	return nil
}

func (*submission) take(ctx context.Context, to *formats.Blob, part *formats.Part, r io.Reader, tx formats.Tx) error {
	if *to != nil {
		return formats.BadRequest("the form has the field %q twice", part.FormName())
	}
	b, err := tx.Blob(ctx, r)
	if err != nil {
		return fmt.Errorf("form field %s: %w", part.FormName(), err)
	}
	*to = b
	return nil
}

// publish names the files by what is in them. A path in the request must agree.
func (s submission) publish(ctx context.Context, tx formats.Tx) error {
	var rec formats.Record
	if s.chart != nil {
		c, err := openChart(ctx, s.chart)
		if err != nil {
			return err
		}
		p, err := pieceOf(c)
		if err != nil {
			return err
		}
		rec = p.record()
		rec.Force = s.force
		if s.name != "" && s.name != rec.Name {
			return bad("this is the chart %s, not %s", rec.Name, s.name)
		}
	}
	if s.prov == nil {
		tx.Put(rec, s.chart)
		return nil
	}
	prov, err := s.provenance(ctx, rec, tx)
	if err != nil {
		return err
	}
	if s.chart != nil {
		tx.Put(rec, s.chart)
	}
	tx.Put(prov, s.prov)
	return nil
}

// provenance returns the record of a provenance file, which must be that of the
// chart it comes with, or of the one that is there.
func (s submission) provenance(ctx context.Context, chart formats.Record, tx formats.Tx) (formats.Record, error) {
	data, err := io.ReadAll(io.NewSectionReader(s.prov, 0, s.prov.Size()))
	if err != nil {
		return formats.Record{}, fmt.Errorf("read the provenance: %w", err)
	}
	file, sum, err := parseProvenance(data)
	if err != nil {
		return formats.Record{}, err
	}
	if named := strings.TrimSuffix(s.name, provExt); named != "" && named != file || chart.Name != "" && chart.Name != file {
		return formats.Record{}, bad("the provenance is that of %s", file)
	}
	var have digest.Sums
	if s.chart != nil {
		have = s.chart.Sums()
	} else if old, err := tx.Record(ctx, "", file); err == nil {
		have = old.Sums
	} else if !errors.Is(err, formats.ErrNotFound) {
		return formats.Record{}, err
	}
	if have.SHA256 != nil && have.Check(digest.Sums{SHA256: sum}) != nil {
		return formats.Record{}, bad("the provenance is of other bytes than the chart %s has", file)
	}
	return formats.Record{Name: file + provExt, Type: typeProv, Force: s.force}, nil
}
