package yum

import (
	"iter"
	"path"
	"strings"

	"granary/formats"
)

var _ formats.Announcer = (*Format)(nil)

// Announces are the mark of the root that a pointer is in, which keeps its
// metadata when the last package goes, and the snapshot if it is one.
func (*Format) Announces(scope, name string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if _, _, _, ok := packageOf(name); !ok || path.Base(scope) != repodata {
			return
		}
		if !yield(scope, rootMark) {
			return
		}
		if root, ok := strings.CutPrefix(path.Dir(scope), snapshots+"/"); ok && snapshotName.MatchString(root) {
			yield(snapshots, ":"+root)
		}
	}
}
