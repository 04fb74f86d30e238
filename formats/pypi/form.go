package pypi

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/blake2b"

	"granary/digest"
	"granary/formats"
)

// Limits of an upload form, in bytes.
const (
	maxField        = 4 << 10
	maxSignature    = 8 << 10
	maxAttestations = 1 << 20
)

// submission is an upload as it was sent. What the client left out is empty.
type submission struct {
	fields       map[string]string
	file         string
	content      formats.Blob
	blake2       []byte
	signature    []byte
	attestations []byte
}

// kept are the fields that are looked at. All that describes the package is
// read from the package.
var kept = map[string]bool{
	":action": true, "protocol_version": true, "name": true, "version": true, "filetype": true,
	"md5_digest": true, "sha256_digest": true, "blake2_256_digest": true, fieldFile: true,
}

// readForm reads a form as twine, uv, flit and poetry send it, or Nexus's, in any
// order.
func readForm(ctx context.Context, up *formats.Upload, tx formats.Tx) (*submission, error) {
	form, err := formats.NewForm(up)
	if err != nil {
		return nil, err
	}
	s := &submission{fields: map[string]string{}}
	for {
		part, err := form.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := s.part(ctx, part, tx); err != nil {
			return nil, fmt.Errorf("form field %q: %w", part.FormName(), err)
		}
	}
	if s.content == nil {
		return nil, formats.BadRequest("the form has no field content")
	}
	if f := s.fields[fieldFile]; f != "" {
		s.file = f
	}
	if a := s.fields[":action"]; a != "" && a != "file_upload" {
		return nil, formats.BadRequest(":action %q is not possible, file_upload is", a)
	}
	if p := s.fields["protocol_version"]; p != "" && p != "1" {
		return nil, formats.BadRequest("protocol_version %q is not known, 1 is", p)
	}
	return s, s.checkDigests()
}

func (s *submission) part(ctx context.Context, part *formats.Part, tx formats.Tx) (err error) {
	switch name := field(part.FormName()); {
	case name == "content":
		if s.content != nil {
			return formats.BadRequest("the form has it twice")
		}
		return s.receive(ctx, part, part.FileName(), tx)
	case name == "gpg_signature":
		s.signature, err = io.ReadAll(formats.Limit(part, maxSignature, "signature"))
	case name == "attestations":
		s.attestations, err = io.ReadAll(formats.Limit(part, maxAttestations, "attestations"))
	case kept[name]:
		if _, ok := s.fields[name]; ok {
			return formats.BadRequest("the form has it twice")
		}
		s.fields[name], err = part.Text(maxField)
	}
	return err
}

// receive takes the bytes of the distribution with all digests that uploaders
// promise.
func (s *submission) receive(ctx context.Context, r io.Reader, file string, tx formats.Tx) error {
	s.file = file
	blake2, err := blake2b.New256(nil)
	if err != nil {
		return fmt.Errorf("begin a digest: %w", err)
	}
	s.content, err = tx.Blob(ctx, io.TeeReader(r, blake2), digest.MD5)
	s.blake2 = blake2.Sum(nil)
	return err
}

func (s *submission) checkDigests() error {
	have := s.content.Sums()
	for _, d := range []struct {
		field string
		sum   []byte
	}{{"md5_digest", have.MD5}, {"sha256_digest", have.SHA256}, {"blake2_256_digest", s.blake2}} {
		promised := strings.ToLower(strings.TrimSpace(s.fields[d.field]))
		if promised == "" {
			continue
		}
		want, err := hex.DecodeString(promised)
		if err != nil || len(want) != len(d.sum) {
			return formats.BadRequest("%s %q is no digest", d.field, promised)
		}
		if !bytes.Equal(want, d.sum) {
			return formats.BadRequest("%s does not match the file: it was changed on its way", d.field)
		}
	}
	return nil
}

// check holds what the form says against the file and the metadata in it.
func (s *submission) check(d distribution, h header) error {
	if n := s.fields["name"]; n != "" {
		if project, ok := normalise(n); !ok || project != d.project {
			return bad("the form says that %s is a file of %q", d.file, n)
		}
	}
	if text := s.fields["version"]; text != "" {
		if v, ok := parseVersion(text); !ok || v.compare(d.version) != 0 {
			return bad("the form says that %s is of version %q", d.file, text)
		}
	}
	if k := s.fields["filetype"]; k != "" && k != d.kind {
		return bad("the form says that %s is a %q", d.file, k)
	}
	return h.check(d)
}
