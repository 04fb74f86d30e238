package component

import (
	"path/filepath"
	"testing"
)

// Crane returns the path of crane, a client of container registries.
func Crane(t testing.TB) string {
	t.Helper()
	return filepath.Join(installed(t, "crane", "crane"), "crane")
}
