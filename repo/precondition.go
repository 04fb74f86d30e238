package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
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
	if i := t.judged(); i >= 0 {
		scope, name = t.puts[i].rec.Scope, t.puts[i].rec.Name
	} else if i := t.judgedDelete(); i >= 0 {
		scope, name = t.deletes[i].Scope, t.deletes[i].Name
	} else {
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

// judged is the index of the put that the request's conditions are about, -1 for
// none: the record that the request names, or, of a form or another that names
// none, the first file; whatever a format writes before it.
func (t *tx) judged() int {
	i := slices.IndexFunc(t.puts, func(p put) bool { return t.op.Name != "" && p.rec.Key() == t.op.Key() })
	if i < 0 {
		i = slices.IndexFunc(t.puts, func(p put) bool { return p.blob != nil || p.kept != nil })
	}
	if i < 0 && len(t.puts) > 0 {
		i = 0
	}
	return i
}

// judgedDelete is the same of a request that only removes.
func (t *tx) judgedDelete() int {
	if len(t.puts) > 0 || len(t.deletes) == 0 {
		return -1
	}
	return max(0, slices.IndexFunc(t.deletes, func(d formats.Op) bool { return d.Key() == t.op.Key() }))
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
