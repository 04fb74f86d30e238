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

// Regctl returns the path of regctl, a client of container registries.
func Regctl(t testing.TB) string {
	t.Helper()
	return filepath.Join(installed(t, "regctl", "regctl"), "regctl")
}

// Cosign returns the path of cosign, which signs images.
func Cosign(t testing.TB) string {
	t.Helper()
	return filepath.Join(installed(t, "cosign", "cosign"), "cosign")
}
