package npm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"granary/formats"
)

// tagPointer is the record of a tag.
func tagPointer(pkg, tag, version string) formats.Record {
	return formats.Record{Scope: pkg, Name: tagRecord(tag), Move: true, Meta: []byte(version)}
}

// checkTags returns the tags that a publish sets, in order: all are of the
// version that is published.
func checkTags(tags map[string]string, version string) ([]string, error) {
	var out []string
	for tag, of := range tags {
		if !goodTag(tag) {
			return nil, formats.BadRequest("%q is no name of a tag", tag)
		}
		if plain(of) != version {
			return nil, formats.BadRequest("tag %q is given to %q, which is not the version in the document", tag, of)
		}
		out = append(out, tag)
	}
	if len(out) > maxTags {
		return nil, formats.BadRequest("more than %d tags", maxTags)
	}
	slices.Sort(out)
	return out, nil
}

const (
	maxTags   = 100     // that one request sets
	maxSmall  = 4 << 10 // bytes of the body of a small request
	maxReason = 1 << 10 // bytes of a deprecation's message
)

// putTag gives a tag to a version that is there.
func putTag(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	body, err := io.ReadAll(formats.Limit(up.Body, maxSmall, "version"))
	if err != nil {
		return err
	}
	var version string
	if json.Unmarshal(body, &version) != nil || !goodVersion(plain(version)) {
		return formats.BadRequest("the body is no JSON string with a version")
	}
	version = plain(version)
	if _, err := tx.Record(ctx, op.Scope, tarballName(op.Scope, version)); err != nil {
		return err
	}
	tx.Put(tagPointer(op.Scope, op.Name, version), nil)
	return nil
}

func removeTag(_ context.Context, op formats.Op, tx formats.Tx) error {
	if op.Name == "latest" {
		return formats.BadRequest("the tag latest can be given to another version, but not removed")
	}
	tx.Delete(op.Scope, tagRecord(op.Name))
	return nil
}

// deprecate sets and lifts deprecations as the document has them, of versions
// that are there. Nothing else of the document is taken.
func (s *submission) deprecate(ctx context.Context, pkg string, tx formats.Tx) error {
	p, err := collect(pkg, tx.Records(ctx, pkg))
	if err != nil {
		return err
	}
	if len(p.versions) == 0 {
		return fmt.Errorf("%s: %w", pkg, formats.ErrNotFound)
	}
	type change struct {
		version string
		message string
	}
	var changes []change
	for version, m := range s.versions {
		stored, ok := p.versions[plain(version)]
		if !ok {
			return formats.BadRequest("version %q is not there and has no attachment", version)
		}
		message := m.text("deprecated")
		if len(message) > maxReason {
			return formats.BadRequest("the message is longer than %d bytes", maxReason)
		}
		if message != stored.deprecated {
			changes = append(changes, change{plain(version), message})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.version, b.version) })
	for _, c := range changes {
		if c.message == "" {
			tx.Delete(pkg, deprecatedDir+c.version)
			continue
		}
		tx.Put(formats.Record{Scope: pkg, Name: deprecatedDir + c.version, Move: true, Meta: []byte(c.message)}, nil)
	}
	return nil
}

// unpublish removes the versions that the document no longer has. It goes by
// the state that the client saw: versions that came since are not removed, and
// if any did the client is told to look again.
func unpublish(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	s := &submission{}
	d := newDocument(up.Body, maxDocument)
	err := d.object(func(key string) error {
		raw, err := d.value()
		if err != nil {
			return err
		}
		return s.member(key, raw)
	})
	if err != nil {
		return err
	}
	if s.versions == nil {
		return formats.BadRequest("the document has no versions; owners are not kept here, rights are those of the server's users")
	}
	p, err := collect(op.Scope, tx.Records(ctx, op.Scope))
	if err != nil {
		return err
	}
	switch {
	case len(p.versions) == 0:
		return fmt.Errorf("%s: %w", op.Scope, formats.ErrNotFound)
	case p.revision != op.Name:
		return fmt.Errorf("%w: %s has changed since, it is at %s", formats.ErrPrecondition, op.Scope, p.revision)
	}
	for version := range s.versions {
		if _, ok := p.versions[plain(version)]; !ok {
			return formats.BadRequest("version %q is not there", version)
		}
	}
	for _, version := range p.order {
		if _, ok := s.versions[version]; !ok {
			p.removeVersion(version, tx)
		}
	}
	if len(s.versions) == 0 {
		tx.Delete(listScope, listPointer(op.Scope))
	}
	return nil
}

// removeVersion deletes a version with what points to it.
func (p *packument) removeVersion(version string, tx formats.Tx) {
	tx.Delete(p.name, tarballName(p.name, version))
	if p.versions[version].deprecated != "" {
		tx.Delete(p.name, deprecatedDir+version)
	}
	for _, tag := range p.tagged(version) {
		tx.Delete(p.name, tagRecord(tag))
	}
}

// remove deletes a version by its tarball, or the package.
func remove(ctx context.Context, op formats.Op, tx formats.Tx) error {
	p, err := collect(op.Scope, tx.Records(ctx, op.Scope))
	if err != nil {
		return err
	}
	left := 0
	for _, version := range p.order {
		if op.Label == labelPackage || tarballName(op.Scope, version) == op.Name {
			p.removeVersion(version, tx)
		} else {
			left++
		}
	}
	switch {
	case left == len(p.order):
		tx.Delete(op.Scope, op.Name+"-") // which is not found
	case left == 0:
		tx.Delete(listScope, listPointer(op.Scope))
	}
	return nil
}

// revision names a state of a package: how many records, and a digest of them.
type revision struct {
	n   int
	sum []byte
}

func (r *revision) add(rec formats.Record) {
	h := sha256.New()
	for _, part := range [][]byte{r.sum, []byte(rec.Name), rec.Meta} {
		fmt.Fprintf(h, "%d ", len(part)) //nolint:errcheck // a hash never fails
		h.Write(part)                    //nolint:errcheck // as above
	}
	r.n++
	r.sum = h.Sum(nil)
}

func (r *revision) String() string {
	if r.n == 0 {
		return "0-0"
	}
	return strconv.Itoa(r.n) + "-" + hex.EncodeToString(r.sum[:16])
}
