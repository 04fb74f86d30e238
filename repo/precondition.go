package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"granary/formats"
	"granary/repo/record"
)

// checkPrecondition refuses early what If-Match or If-None-Match rules out;
// the same is checked again by the write itself against what it replaces.
func (t *tx) checkPrecondition(ctx context.Context) error {
	if t.pre == (Precondition{}) {
		return nil
	}
	var scope, name string
	switch {
	case len(t.puts) > 0:
		scope, name = t.puts[0].rec.Scope, t.puts[0].rec.Name
	case len(t.deletes) > 0:
		scope, name = t.deletes[0].Scope, t.deletes[0].Name
	default:
		return nil
	}
	old, _, err := t.service.Records.Get(ctx, t.repo.space, scope, name, record.Latest)
	if errors.Is(err, formats.ErrNotFound) {
		if len(t.puts) == 0 {
			return nil // not found is told before a condition on nothing
		}
		return t.pre.check(nil)
	}
	if err != nil {
		return fmt.Errorf("%s/%s: %w", t.repo.Name, formats.Join(scope, name), err)
	}
	return t.pre.check(&old)
}

// check follows RFC 9110 §13.1: old is nil where there is no record.
func (p Precondition) check(old *record.Record) error {
	tag := ""
	if old != nil {
		tag = `"` + hex.EncodeToString(old.Sums.BLAKE3) + `"`
	}
	if p.IfMatch != "" && (old == nil || !tagListed(p.IfMatch, tag, false)) {
		return fmt.Errorf("%w: If-Match %s", formats.ErrPrecondition, p.IfMatch)
	}
	if p.IfNoneMatch != "" && old != nil && tagListed(p.IfNoneMatch, tag, true) {
		return fmt.Errorf("%w: If-None-Match %s", formats.ErrPrecondition, p.IfNoneMatch)
	}
	return nil
}

func (p Precondition) checkDelete(old record.Record) error { return p.check(&old) }

// tagListed tells whether a list of entity tags holds tag; weak comparison
// ignores W/.
func tagListed(list, tag string, weak bool) bool {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if weak {
			one = strings.TrimPrefix(one, "W/")
		}
		if one == "*" || one == tag {
			return true
		}
	}
	return false
}
