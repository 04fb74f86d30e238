package pypi

import (
	"iter"
	"strings"

	"granary/formats"
)

var _ formats.Announcer = Format{}

// Announces are a project's place in the list of projects.
func (Format) Announces(scope, _ string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if strings.HasPrefix(scope, packages) {
			yield(rootScope, ":"+projectOf(scope))
		}
	}
}
