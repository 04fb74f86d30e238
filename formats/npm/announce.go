package npm

import (
	"iter"

	"granary/formats"
)

var _ formats.Announcer = Format{}

// Announces are a package's place among those that are found by search.
func (Format) Announces(scope, _ string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if newName(scope) {
			yield(listScope, listPointer(scope))
		}
	}
}
