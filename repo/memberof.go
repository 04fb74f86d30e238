package repo

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"granary/formats"
	"granary/repo/config"
)

// A group has the files of all its members at one path each, the first one's.
// Where documents of its own name the files of another (Debian's stable by one
// member, Ubuntu's noble by the other, both with a zlib1g of one version in one
// pool), they name them below this directory and the member's id, which stays
// when it is renamed, as documents of before are served for a time.
const membersDir = "members"

// relocated puts the records of a member in its directory, unless its files are
// those that the group has by their own paths.
func relocated(f formats.Format, m view, recs iter.Seq2[formats.Record, error]) iter.Seq2[formats.Record, error] {
	p, ok := f.(formats.Relocator)
	t, leaf := m.(target)
	if !ok || !leaf {
		return recs
	}
	dir := membersDir + "/" + t.base().repo.ID
	return func(yield func(formats.Record, error) bool) {
		for rec, err := range recs {
			if err == nil && (t.base().behind || strings.HasPrefix(rec.Path, membersDir+"/")) {
				rec = p.Relocate(rec, dir)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// placeOf is part of a group's stamp: by which paths a member's files are named
// hangs on the members before it that the caller may read.
func placeOf(f formats.Format, m view) string {
	if _, ok := f.(formats.Relocator); !ok {
		return ""
	}
	if t, leaf := m.(target); leaf && t.base().behind {
		return " " + membersDir
	}
	return ""
}

// ofMember reads a path below the directory of a member. ok is false where the
// group has no such member, or not for this caller, or the path is no file's.
func (h *Handle) ofMember(req formats.Req) (op formats.Op, ok bool) {
	rest, below := strings.CutPrefix(req.Path, membersDir+"/")
	if _, relocates := h.Format.(formats.Relocator); !below || !relocates || h.repo.Type != config.Proxy {
		return op, false
	}
	id, path, _ := strings.Cut(rest, "/")
	for _, t := range h.view.targets() {
		if t.base().repo.ID != id {
			continue
		}
		req.Path = path
		if op, ok = h.Format.Route(req); !ok || op.Kind != formats.File {
			return formats.Op{}, false
		}
		op.Member = id
		return op, true
	}
	return op, false
}

// findOf asks one member.
func (g *group) findOf(ctx context.Context, op formats.Op, fresh bool) (*formats.Content, error) {
	for _, t := range g.targets() {
		if t.base().repo.ID == op.Member {
			op.Member = ""
			return (&group{service: g.service, repo: g.repo, members: []view{t}, moment: g.moment}).find(ctx, op, fresh)
		}
	}
	return nil, fmt.Errorf("%s/%s: %w", g.repo.Name, op.Key(), formats.ErrNotFound)
}
