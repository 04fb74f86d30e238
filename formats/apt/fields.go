package apt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"granary/formats"
)

// fields are those of a distribution's Release that a client may set; what is
// "" is as in every distribution.
type fields struct {
	Origin               string `json:"origin"`
	Label                string `json:"label"`
	Suite                string `json:"suite"`
	Codename             string `json:"codename"`
	Version              string `json:"version"`
	Description          string `json:"description"`
	Changelogs           string `json:"changelogs"`
	NotAutomatic         bool   `json:"not_automatic"`
	ButAutomaticUpgrades bool   `json:"but_automatic_upgrades"`
}

const (
	maxFieldsBody = 16 << 10 // bytes of a request
	maxFieldText  = 300      // bytes
)

// setFields sets the fields of a distribution, all of them; one that is not
// there is made, with the component main.
func setFields(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	dist := strings.TrimPrefix(op.Scope, dists+"/")
	body, err := io.ReadAll(formats.Limit(up.Body, maxFieldsBody, "request"))
	if err != nil {
		return err
	}
	var in fields
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return formats.BadRequest("the fields of a distribution are an object of JSON, such as {\"origin\": \"Example\", \"not_automatic\": true}: %.200s", err.Error())
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // Token wraps nothing
		return formats.BadRequest("something follows the object of JSON")
	}
	if err := in.check(dist); err != nil {
		return err
	}
	announced := destination{distributions: []string{dist}}
	if err := announce(ctx, announced, []batch{{section: defaultComponent + "/" + archAll}}, tx); err != nil {
		return err
	}
	tx.Put(formats.Record{Scope: op.Scope, Name: op.Name, Move: true, Meta: in.paragraph().append(nil)}, nil)
	return nil
}

func (f fields) check(dist string) error {
	for name, value := range map[string]string{
		"origin": f.Origin, "label": f.Label, "version": f.Version, "description": f.Description, "changelogs": f.Changelogs,
	} {
		if len(value) > maxFieldText || strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
			return formats.BadRequest("%s is %.100q; it has to be one line of at most %d bytes, without spaces around it", name, value, maxFieldText)
		}
	}
	for name, value := range map[string]string{"suite": f.Suite, "codename": f.Codename} {
		if value != "" && !segment.MatchString(value) {
			return formats.BadRequest("%s is %.100q, which is no name of a distribution", name, value)
		}
	}
	switch {
	case f.Suite != "" && f.Suite != dist && f.Codename != "" && f.Codename != dist:
		return formats.BadRequest("neither suite nor codename is %q, the name that clients ask for: apt would take it for another distribution", dist)
	case f.ButAutomaticUpgrades && !f.NotAutomatic:
		return formats.BadRequest("but_automatic_upgrades says nothing without not_automatic")
	}
	return nil
}

// paragraph is what is kept: the fields of Release that are set.
func (f fields) paragraph() paragraph {
	var p paragraph
	for _, one := range []field{
		{"Origin", f.Origin}, {"Label", f.Label}, {"Suite", f.Suite}, {"Version", f.Version}, {"Codename", f.Codename},
		{"Changelogs", f.Changelogs}, {"NotAutomatic", yes(f.NotAutomatic)}, {"ButAutomaticUpgrades", yes(f.ButAutomaticUpgrades)},
		{"Description", f.Description},
	} {
		if one.value != "" {
			p = append(p, one)
		}
	}
	return p
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// set is a field of Release: what is set for the distribution, or else what
// every one has; none if both are "".
func (d *distribution) set(name, otherwise string) paragraph {
	if v := d.fields.get(name); v != "" {
		otherwise = v
	}
	if otherwise == "" {
		return nil
	}
	return paragraph{{name, otherwise}}
}

// readFields reads what [fields.paragraph] or an upstream's Release said.
func readFields(rec formats.Record) (paragraph, error) {
	if len(rec.Meta) == 0 {
		return nil, nil
	}
	p, err := newParagraphs(bytes.NewReader(rec.Meta)).next()
	if err != nil {
		return nil, fmt.Errorf("%w: fields of %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	return p, nil
}
