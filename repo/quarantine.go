package repo

import (
	"encoding/hex"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/zeebo/blake3"

	"granary/formats"
	"granary/repo/config"
)

// What is in quarantine is kept and given to nobody: documents do not show it,
// and who asks for it hears the reason. It is a policy of hosted repositories
// and of caches; see policy.go. Writes, retention and the collector see it as
// they see everything.

// quarantine finds entries by what they name.
type quarantine struct {
	exact map[string]*config.Quarantined
	dirs  []*config.Quarantined
	stamp string // part of the stamps of all scopes; "" for none
}

// newQuarantine finds out what is at a path that a client would ask for: the
// record there may have another name.
func newQuarantine(f formats.Format, list []config.Quarantined) quarantine {
	if len(list) == 0 {
		return quarantine{}
	}
	q := quarantine{exact: map[string]*config.Quarantined{}}
	h := blake3.New()
	for i := range list {
		e := &list[i]
		fmt.Fprintf(h, "%q", e.Item)
		if strings.HasSuffix(e.Item, "/") {
			q.dirs = append(q.dirs, e)
			continue
		}
		q.exact[e.Item] = e
		if op, ok := f.Route(formats.Req{Method: http.MethodGet, Path: e.Item}); ok && op.Kind == formats.File {
			q.exact[op.Key()], q.exact[op.Upstream()] = e, e
		}
	}
	q.stamp = "!" + hex.EncodeToString(h.Sum(nil)[:8])
	return q
}

// inQuarantine returns a PolicyError for a record that was put away, by one of
// its paths, its release or its package.
func (r *repository) inQuarantine(scope, name string, paths ...string) error {
	q := &r.quarantine
	if q.stamp == "" {
		return nil
	}
	pkg, release := r.release(scope, name)
	for _, item := range append(paths, formats.Join(scope, name), release, pkg) {
		found := q.exact[item]
		for _, dir := range q.dirs {
			if strings.HasPrefix(item, dir.Item) {
				found = dir
			}
		}
		if found != nil && item != "" {
			return &PolicyError{Reason: ReasonQuarantined, What: r.Name + "/" + paths[0], Detail: found.Reason}
		}
	}
	return nil
}

// rulesStamp tells apart what is shown under other rules; "" where there
// never were any but those that the repository began with.
func (r *repository) rulesStamp() string {
	if r.Rules == "" {
		return r.quarantine.stamp
	}
	return r.quarantine.stamp + "=" + r.Rules
}

// shown leaves out of a hosted repository's records what is in quarantine.
func (r *repository) shown(recs iter.Seq2[formats.Record, error]) iter.Seq2[formats.Record, error] {
	if r.quarantine.stamp == "" {
		return recs
	}
	return func(yield func(formats.Record, error) bool) {
		for rec, err := range recs {
			if err == nil && (r.inQuarantine(rec.Scope, rec.Name, rec.Path) != nil || r.inQuarantine(rec.Scope, r.told(rec), rec.Path) != nil) {
				continue
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}
